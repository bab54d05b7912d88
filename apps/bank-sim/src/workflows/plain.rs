use std::time::Duration;

use steadfast_bank::ProductId;
use steadfast_core::Failure;
use steadfast_engine::{Ctx, Either, Registry, WorkflowOptions};

use super::{GO, Order};
use crate::node::WINDOW;
use crate::outside::{BOOK, DO, Deed, RARELY_DO, RARELY_UNDO, SELL, TAKE_BACK, TELL_MUCH, UNDO};

pub(super) fn register(registry: &mut Registry) {
    let options = WorkflowOptions::default;
    registry
        .workflow("saga", 1, options(), saga)
        .workflow("crowd", 1, options(), crowd)
        .workflow("waiting", 1, options(), waiting)
        .workflow("parent", 1, options(), parent)
        .workflow("looping", 1, options(), looping)
        .workflow("sleeper", 1, options(), sleeper)
        .workflow("listening", 1, options(), listening)
        .workflow("lasting", 1, options(), lasting)
        .workflow("booking", 1, options(), booking)
        .workflow("hurried", 1, options(), hurried)
        .workflow("heavy", 1, options(), heavy)
        .workflow("refund", 1, options(), refund)
        .workflow("lucky", 1, options(), lucky)
        .workflow("regret", 1, options(), regret);
}

/// One step after another, each of which can be undone.
async fn saga(ctx: Ctx, order: Order) -> Result<u64, Failure> {
    for i in 0..order.size {
        let deed = order.deed(i);
        ctx.step(("do", i), &DO, &deed).undo(&UNDO, &deed).await?;
    }
    Ok(order.size)
}

/// Many at once.
async fn crowd(ctx: Ctx, order: Order) -> Result<u64, Failure> {
    let steps = (0..order.size).map(|i| {
        let deed = order.deed(i);
        ctx.step(("do", i), &DO, &deed).undo(&UNDO, &deed)
    });
    for done in ctx.join_all(steps).await {
        done?;
    }
    Ok(order.size)
}

/// Waits for a word, and not for ever.
async fn waiting(ctx: Ctx, order: Order) -> Result<u64, Failure> {
    ctx.step("before", &DO, &Deed::new("before")).undo(&UNDO, &Deed::new("before")).await?;
    let word = ctx.signal::<u64>("word", GO);
    let patience = ctx.sleep("patience", Duration::from_secs(60 + order.size));
    match ctx.race(word, patience).await {
        Either::Left(word) => word,
        Either::Right(_) => Err(Failure::refused("sim.nobody", "nobody said anything")),
    }
}

/// Others do the work.
async fn parent(ctx: Ctx, order: Order) -> Result<u64, Failure> {
    let mut sum = 0;
    // One that gives up takes its parent with it.
    let child = if order.size == 4 { "lucky" } else { "saga" };
    for i in 0..order.size.min(3) {
        let fails_at = order.fails_at.filter(|at| *at == i).map(|_| 1);
        sum += ctx
            .child::<Order, u64>(("child", i), child, &Order { size: 2, fails_at, ..Order::default() })
            .await?;
    }
    Ok(sum)
}

/// Begins anew again and again.
async fn looping(ctx: Ctx, order: Order) -> Result<u64, Failure> {
    ctx.step("turn", &DO, &Deed::new(format!("round {}", order.size))).await?;
    if order.size == 0 {
        return Ok(0);
    }
    Err(ctx.continue_as_new(&Order { size: order.size - 1, ..Order::default() }))
}

/// Sleeps between steps.
async fn sleeper(ctx: Ctx, order: Order) -> Result<u64, Failure> {
    for i in 0..order.size.min(4) {
        ctx.sleep(("nap", i), Duration::from_secs(1 << (2 * i))).await?;
        ctx.step(("do", i), &DO, &Deed::new(format!("awake {i}"))).await?;
    }
    Ok(order.size)
}

/// Its effects are on our own log.
async fn booking(ctx: Ctx, order: Order) -> Result<u64, Failure> {
    let mut sum = 0;
    for i in 0..order.size {
        sum += ctx.step(("book", i), &BOOK, &order.deed(i)).await?;
    }
    Ok(sum)
}

/// Has little time for each step, and goes on without those that are late.
async fn hurried(ctx: Ctx, order: Order) -> Result<u64, Failure> {
    let mut done = 0;
    for i in 0..order.size {
        let deed = order.deed(i);
        let step = ctx.step(("do", i), &DO, &deed).undo(&UNDO, &deed);
        done += u64::from(ctx.timeout(("limit", i), Duration::from_millis(100), step).await.is_some());
    }
    if done == 0 { Err(Failure::refused("sim.late", "nothing was done in time")) } else { Ok(done) }
}

/// Inputs and results that do not stand inside the log.
async fn heavy(ctx: Ctx, order: Order) -> Result<u64, Failure> {
    let mut told = 0;
    for i in 0..order.size {
        ctx.step(("do", i), &DO, &order.deed(i)).await?;
        told += ctx.step(("tell", i), &TELL_MUCH, &20_000).await?.len() as u64;
    }
    Ok(told)
}

/// Sells something and then fails, so that it is taken back.
async fn refund(ctx: Ctx, order: Order) -> Result<u64, Failure> {
    let product: ProductId =
        "chocolate-mesa".parse().map_err(|_| Failure::internal("sim.product", "no product"))?;
    ctx.step("sell", &SELL, &product).undo(&TAKE_BACK, &product).await?;
    let deed = Deed { refused: order.fails_at.is_some(), ..Deed::new("do") };
    ctx.step("do", &DO, &deed).await
}

/// Does what does not always work.
async fn lucky(ctx: Ctx, order: Order) -> Result<u64, Failure> {
    let before = order.deed(0);
    ctx.step("before", &DO, &before).await?;
    ctx.step("lucky", &RARELY_DO, &Deed::new("luck")).await
}

/// Does what cannot always be undone, and then fails.
async fn regret(ctx: Ctx, order: Order) -> Result<u64, Failure> {
    let deed = Deed::new("regret");
    ctx.step("regret", &DO, &deed).undo(&RARELY_UNDO, &deed).await?;
    ctx.step("do", &DO, &order.deed(0)).await
}

/// Takes one word in each generation, until nobody says anything more: how many there were.
async fn listening(ctx: Ctx, order: Order) -> Result<u64, Failure> {
    ctx.sleep("busy", Duration::from_secs(5)).await?;
    let word = ctx.signal::<u64>("word", GO);
    let patience = ctx.sleep("patience", Duration::from_secs(60));
    match ctx.race(word, patience).await {
        Either::Left(word) => word.map(drop)?,
        Either::Right(over) => return over.map(|()| order.size),
    }
    Err(ctx.continue_as_new(&Order { size: order.size + 1, ..order }))
}

/// Goes on for longer than keys are kept.
async fn lasting(ctx: Ctx, order: Order) -> Result<u64, Failure> {
    ctx.sleep("long", WINDOW + Duration::from_mins(10)).await?;
    Ok(order.size)
}
