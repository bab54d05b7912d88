//! What runs do: small workflows that use everything a run can do.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use steadfast_core::Failure;
use steadfast_engine::{Ctx, Either, Registry, WorkflowOptions};

use crate::{
    node::WINDOW,
    outside::{BOOK, DO, Deed, UNDO},
};

/// What a run is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Order {
    /// Steps, turns, children: whatever the workflow counts.
    pub(crate) size: u64,
    /// The step that is refused, if there is one.
    pub(crate) fails_at: Option<u64>,
}

impl Order {
    fn deed(&self, i: u64) -> Deed {
        Deed { what: format!("deed {i}"), refused: self.fails_at == Some(i) }
    }
}

pub(crate) const WORKFLOWS: [&str; 7] =
    ["saga", "crowd", "waiting", "parent", "looping", "sleeper", "booking"];
/// Not for everybody: see [`crate::sceptic`].
pub(crate) const LISTENING: &str = "listening";
pub(crate) const LASTING: &str = "lasting";
pub(crate) const GO: &str = "go";

pub(crate) fn register(registry: &mut Registry) {
    let options = WorkflowOptions::default;
    registry
        .workflow("saga", 1, options(), saga)
        .workflow("crowd", 1, options(), crowd)
        .workflow("waiting", 1, options(), waiting)
        .workflow("parent", 1, options(), parent)
        .workflow("looping", 1, options(), looping)
        .workflow("sleeper", 1, options(), sleeper)
        .workflow("booking", 1, options(), booking)
        .workflow(LISTENING, 1, options(), listening)
        .workflow(LASTING, 1, options(), lasting);
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
    for i in 0..order.size.min(3) {
        let fails_at = order.fails_at.filter(|at| *at == i).map(|_| 1);
        sum += ctx.child::<Order, u64>(("child", i), "saga", &Order { size: 2, fails_at }).await?;
    }
    Ok(sum)
}

/// Begins anew again and again.
async fn looping(ctx: Ctx, order: Order) -> Result<u64, Failure> {
    ctx.step("turn", &DO, &Deed::new(format!("round {}", order.size))).await?;
    if order.size == 0 {
        return Ok(0);
    }
    Err(ctx.continue_as_new(&Order { size: order.size - 1, fails_at: None }))
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

/// Takes one word in each generation, until nobody says anything more: how many there were.
async fn listening(ctx: Ctx, order: Order) -> Result<u64, Failure> {
    ctx.sleep("busy", Duration::from_secs(5)).await?;
    let word = ctx.signal::<u64>("word", GO);
    let patience = ctx.sleep("patience", Duration::from_secs(60));
    match ctx.race(word, patience).await {
        Either::Left(word) => word.map(drop)?,
        Either::Right(over) => return over.map(|()| order.size),
    }
    Err(ctx.continue_as_new(&Order { size: order.size + 1, fails_at: None }))
}

/// Goes on for longer than keys are kept.
async fn lasting(ctx: Ctx, order: Order) -> Result<u64, Failure> {
    ctx.sleep("long", WINDOW + Duration::from_mins(10)).await?;
    Ok(order.size)
}
