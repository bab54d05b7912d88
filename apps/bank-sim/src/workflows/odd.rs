use std::time::Duration;

use steadfast_core::Failure;
use steadfast_engine::{Action, Ctx, Registry, WorkflowOptions};

use super::Order;
use crate::outside::{DO, Deed, FALL_OVER, GUARDED, TELL_MUCH, UNDO};

/// The workflow that a first turn alone is too much for: nothing of it is accepted.
pub(crate) const TOO_MUCH: &str = "too-much";

pub(super) fn register(registry: &mut Registry) {
    let options = WorkflowOptions::default;
    let soon = WorkflowOptions { deadline: Some(Duration::from_secs(5)), ..options() };
    registry
        .workflow("stuck", 1, options(), stuck)
        .workflow("panicking", 1, options(), panicking)
        .workflow("twice", 1, options(), twice)
        .workflow("brood", 1, options(), brood)
        .workflow("orphan", 1, options(), orphan)
        .workflow("misled", 1, options(), misled)
        .workflow("misfit", 1, options(), misfit)
        .workflow("falling", 1, options(), falling)
        .workflow("wordy", 1, options(), wordy)
        .workflow("bulky", 1, options(), bulky)
        .workflow("endless", 1, soon, endless)
        .workflow("guarded", 1, options(), guarded)
        .workflow(TOO_MUCH, 1, options(), too_much);
}

/// Waits for what no run may wait for.
async fn stuck(ctx: Ctx, order: Order) -> Result<u64, Failure> {
    before(&ctx).await?;
    std::future::pending::<()>().await;
    Ok(order.size)
}

/// Something that must be undone.
async fn before(ctx: &Ctx) -> Result<u64, Failure> {
    let deed = Deed::new("before");
    ctx.step("before", &DO, &deed).undo(&UNDO, &deed).await
}

async fn panicking(ctx: Ctx, order: Order) -> Result<u64, Failure> {
    before(&ctx).await?;
    assert!(order.size > 1_000, "{}: a workflow falls over", crate::ON_PURPOSE);
    Ok(order.size)
}

async fn twice(ctx: Ctx, _: Order) -> Result<u64, Failure> {
    before(&ctx).await?;
    before(&ctx).await
}

async fn brood(ctx: Ctx, _: Order) -> Result<u64, Failure> {
    before(&ctx).await?;
    let order = Order::default();
    let children = (0..51_u64).map(|i| ctx.child::<Order, u64>(("child", i), "saga", &order));
    ctx.join_all(children).await.into_iter().sum()
}

async fn orphan(ctx: Ctx, order: Order) -> Result<u64, Failure> {
    before(&ctx).await?;
    ctx.child("child", "nobody", &order).await
}

async fn misled(ctx: Ctx, _: Order) -> Result<u64, Failure> {
    before(&ctx).await?;
    ctx.child("child", "saga", &"no order").await
}

async fn misfit(ctx: Ctx, order: Order) -> Result<u64, Failure> {
    const OTHER: Action<Order, u64> = Action::new(DO.name);
    before(&ctx).await?;
    ctx.step("misfit", &OTHER, &order).await
}

async fn falling(ctx: Ctx, _: Order) -> Result<u64, Failure> {
    before(&ctx).await?;
    ctx.step("fall", &FALL_OVER, &Deed::new("fall")).await
}

async fn wordy(ctx: Ctx, order: Order) -> Result<u64, Failure> {
    before(&ctx).await?;
    let told = ctx.step("tell", &TELL_MUCH, &(4 * 1024 * 1024)).await?;
    Ok(told.len() as u64 + order.size)
}

/// Steps that are too much for one commit, none of them for itself.
async fn much(ctx: &Ctx) -> Result<u64, Failure> {
    let deed = Deed { padding: "p".repeat(15_000), ..Deed::new("much") };
    let steps = (0..20_u64).map(|i| ctx.step(("do", i), &DO, &deed));
    ctx.join_all(steps).await.into_iter().sum()
}

async fn bulky(ctx: Ctx, _: Order) -> Result<u64, Failure> {
    before(&ctx).await?;
    much(&ctx).await
}

async fn too_much(ctx: Ctx, _: Order) -> Result<u64, Failure> {
    much(&ctx).await
}

/// Is not done before its deadline.
async fn endless(ctx: Ctx, order: Order) -> Result<u64, Failure> {
    before(&ctx).await?;
    ctx.sleep("long", Duration::from_secs(90)).await?;
    Ok(order.size)
}

/// Many at once under a policy that lets through few.
async fn guarded(ctx: Ctx, order: Order) -> Result<u64, Failure> {
    let steps = (0..order.size + 2).map(|i| ctx.step(("do", i), &GUARDED, &order.deed(i)));
    ctx.join_all(steps).await.into_iter().sum()
}
