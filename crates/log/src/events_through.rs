use crate::{Log, ReadError, Recorded, StreamId};

const PAGE: u64 = 500;

/// Shows the events of a stream up to a version to `each`. `false`: the stream ends before.
pub async fn events_through(
    log: &dyn Log,
    stream: &StreamId,
    last: u64,
    mut each: impl FnMut(&Recorded) -> Result<(), ReadError>,
) -> Result<bool, ReadError> {
    let mut shown = 0;
    while shown < last {
        let limit = usize::try_from((last - shown).min(PAGE)).unwrap_or(usize::MAX);
        let page = log.read_stream(stream, shown + 1, limit).await?;
        if page.is_empty() {
            return Ok(false);
        }
        for recorded in &page {
            each(recorded)?;
            shown = recorded.version;
        }
    }
    Ok(true)
}
