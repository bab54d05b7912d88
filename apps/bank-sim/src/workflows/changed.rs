use std::time::Duration;

use steadfast_core::Failure;
use steadfast_engine::{Ctx, Registry, WorkflowOptions};

use super::Order;
use crate::outside::{COUNT, Counted, DO, Deed, NEW};

pub(super) fn register(registry: &mut Registry, old_code: bool) {
    let options = WorkflowOptions::default;
    registry.workflow("versioned", 1, options(), one).workflow("renewed", 1, options(), renewed);
    if old_code {
        registry.workflow("patched", 1, options(), unpatched).workflow("shaped", 1, options(), plain);
    } else {
        registry
            .workflow("versioned", 2, options(), two)
            .workflow("patched", 1, options(), patched)
            .workflow("shaped", 1, options(), shaped);
    }
}

/// So many steps, with time in between for another node to take it up; the answer is how many.
async fn steps(ctx: &Ctx, names: &[&str]) -> Result<u64, Failure> {
    let mut done = 0;
    for name in names {
        ctx.sleep(("before", *name), Duration::from_secs(8)).await?;
        ctx.step(*name, &DO, &Deed::new(*name)).await?;
        done += 1;
    }
    Ok(done)
}

async fn one(ctx: Ctx, _: Order) -> Result<u64, Failure> {
    steps(&ctx, &["first"]).await
}

/// What the code of before has no version of.
async fn two(ctx: Ctx, _: Order) -> Result<u64, Failure> {
    steps(&ctx, &["first", "second"]).await
}

async fn unpatched(ctx: Ctx, _: Order) -> Result<u64, Failure> {
    steps(&ctx, &["first", "third"]).await
}

/// One step more than before, in runs that began with it.
async fn patched(ctx: Ctx, _: Order) -> Result<u64, Failure> {
    if ctx.patched("second") {
        steps(&ctx, &["first", "second", "third"]).await
    } else {
        steps(&ctx, &["first", "third"]).await
    }
}

/// Reads what a step answered in the shape of before.
async fn plain(ctx: Ctx, _: Order) -> Result<u64, Failure> {
    const PLAIN: steadfast_engine::Action<Deed, u64> = steadfast_engine::Action::new(COUNT.name);
    ctx.step("first", &PLAIN, &Deed::new("first")).await?;
    Ok(1 + steps(&ctx, &["second"]).await?)
}

async fn shaped(ctx: Ctx, _: Order) -> Result<u64, Failure> {
    match ctx.step("first", &COUNT, &Deed::new("first")).await? {
        Counted::Plain(_) | Counted::Full { .. } => Ok(1 + steps(&ctx, &["second"]).await?),
    }
}

/// Asks for what the code of before cannot do.
async fn renewed(ctx: Ctx, _: Order) -> Result<u64, Failure> {
    ctx.sleep("before", Duration::from_secs(8)).await?;
    ctx.step("new", &NEW, &Deed::new("new")).await?;
    Ok(1)
}
