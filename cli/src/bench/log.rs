use steadfast_log_sqlite::bench::committers;

use super::{
    Plan, Report,
    floor::measure,
    place::Place,
    report::{Bar, Line},
};
use crate::output;

/// How fast commits become durable.
pub(crate) async fn log(plan: &Plan) -> anyhow::Result<Report> {
    let place = Place::make(&plan.folder).await?;
    let mut many = Line::new("64 committers, one event each", "events/s", Bar::RatioAtLeast(0.6));
    let mut one = Line::new("one committer, p50", "ms", Bar::RatioAtMost(1.5));
    let mut floors = Vec::new();
    let bar = output::progress(plan.rounds as u64, "rounds");
    for _ in 0..plan.rounds {
        let floor = measure(place.folder(), &place.world).await?;
        let world = || place.world.clone();
        let round = committers(place.log.clone(), world(), 64, plan.count(600)).await?;
        many.push(round.rate(), floor.group);
        let round = committers(place.log.clone(), world(), 1, plan.count(1_000)).await?;
        let millis = |wait: std::time::Duration| wait.as_secs_f64() * 1_000.0;
        one.push(millis(round.p50()), millis(floor.one_p50));
        floors.push(floor);
        bar.inc(1);
    }
    bar.finish_and_clear();
    let (stats, verdict) = (place.stats(), place.verify().await?);
    Ok(Report::new("bench log", &floors, vec![many, one], stats, verdict))
}
