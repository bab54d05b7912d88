use std::{str::FromStr, time::Duration};

/// How a call is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// What goes wrong.
    pub fault: Fault,
    /// In how many calls of a hundred it goes wrong.
    pub percent: u64,
    /// How many pieces of text the answer has.
    pub chunks: usize,
    /// How many pieces of a thought come before them in a stream.
    pub thoughts: usize,
    /// How many tools it calls instead, all at once.
    pub tools: usize,
    /// How long before the first byte.
    pub pause: Duration,
    /// How long before each piece of a stream.
    pub every: Duration,
    /// Asked to go on, it begins anew, as models do.
    pub begins_anew: bool,
    /// What it answers instead, byte for byte.
    pub replay: Option<bytes::Bytes>,
}

/// What goes wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// A status with an error body, and perhaps `Retry-After` in seconds.
    Status(u16, Option<u64>),
    /// Nothing ever comes.
    Hang,
    /// An answer that breaks off inside its JSON, all bytes delivered.
    Malformed,
    /// A page for people, under 200.
    WrongType,
    /// An error body under 200.
    ErrorBody,
    /// The connection closes after so many pieces of text.
    Cut(usize),
    /// The connection closes after so many bytes of the response, head and all.
    CutAtByte(usize),
    /// After so many pieces of text nothing comes any more.
    Stall(usize),
    /// After so many pieces nothing comes until it is told to go on.
    Hold(usize),
    /// The piece of that number is not JSON.
    BadChunk(usize),
    /// Instead of the piece of that number comes an error event.
    ErrorEvent(usize),
    /// The stream ends after so many pieces as if it were whole, without saying so.
    EndEarly(usize),
    /// So many bytes at a time.
    Drip(usize),
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            fault: Fault::None,
            percent: 100,
            chunks: 20,
            thoughts: 0,
            tools: 0,
            pause: Duration::ZERO,
            every: Duration::ZERO,
            begins_anew: false,
            replay: None,
        }
    }
}

impl From<Fault> for Plan {
    fn from(fault: Fault) -> Self {
        Self { fault, ..Self::default() }
    }
}

impl Plan {
    /// Answers with these bytes.
    pub fn replaying(bytes: impl Into<bytes::Bytes>) -> Self {
        Self { replay: Some(bytes.into()), ..Self::default() }
    }
    /// The piece of text of that number.
    pub fn piece(number: usize) -> String {
        format!("word{number} ")
    }
    /// The piece of a thought of that number.
    pub(crate) fn thought(number: usize) -> String {
        format!("thought{number} ")
    }
    /// All that it thinks.
    pub fn thinking(&self) -> String {
        (0..self.thoughts).map(Self::thought).collect()
    }
    /// All that it says.
    pub fn text(&self) -> String {
        (0..self.chunks).map(Self::piece).collect()
    }
    /// Does it go wrong in the call of that number?
    pub(crate) fn strikes(&self, call: u64) -> bool {
        // SplitMix64: as good as chance, and the same in every run.
        let mut bits = call.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (bits ^ (bits >> 31)) % 100 < self.percent
    }
}

/// `chunks=20,every=5ms,fault=cut:10`, or as the model's name `plan/fault=status:503`.
impl FromStr for Plan {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let mut plan = Self::default();
        for part in text.split(',').filter(|part| !part.is_empty()) {
            let (key, value) = part.split_once('=').unwrap_or((part, ""));
            match key {
                "percent" => plan.percent = number(value)?,
                "chunks" => plan.chunks = number(value)?,
                "thoughts" => plan.thoughts = number(value)?,
                "tools" => plan.tools = number(value)?,
                "pause" => plan.pause = millis(value)?,
                "every" => plan.every = millis(value)?,
                "begins_anew" => plan.begins_anew = true,
                "fault" => plan.fault = fault(value)?,
                _ => return Err(format!("there is no {key:?}")),
            }
        }
        Ok(plan)
    }
}

fn number<T: FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("{text:?} is not a number"))
}

fn millis(text: &str) -> Result<Duration, String> {
    number(text.trim_end_matches("ms")).map(Duration::from_millis)
}

fn fault(text: &str) -> Result<Fault, String> {
    let (name, rest) = text.split_once(':').unwrap_or((text, "0"));
    Ok(match name {
        "status" => match rest.split_once(':') {
            Some((status, after)) => Fault::Status(number(status)?, Some(number(after)?)),
            None => Fault::Status(number(rest)?, None),
        },
        "none" => Fault::None,
        "hang" => Fault::Hang,
        "malformed" => Fault::Malformed,
        "wrong_type" => Fault::WrongType,
        "error_body" => Fault::ErrorBody,
        "cut" => Fault::Cut(number(rest)?),
        "cut_at_byte" => Fault::CutAtByte(number(rest)?),
        "stall" => Fault::Stall(number(rest)?),
        "bad_chunk" => Fault::BadChunk(number(rest)?),
        "error_event" => Fault::ErrorEvent(number(rest)?),
        "end_early" => Fault::EndEarly(number(rest)?),
        "drip" => Fault::Drip(number(rest)?),
        _ => return Err(format!("there is no fault {name:?}")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_is_read_from_text() {
        let plan: Plan = "chunks=3,every=5ms,fault=status:429:2,percent=30".parse().expect("a plan");
        assert_eq!(plan.fault, Fault::Status(429, Some(2)));
        assert_eq!((plan.chunks, plan.every, plan.percent), (3, Duration::from_millis(5), 30));
        let struck = (0..1_000).filter(|call| plan.strikes(*call)).count();
        assert!((250..350).contains(&struck), "{struck}");
        assert!("fault=fire".parse::<Plan>().is_err());
    }
}
