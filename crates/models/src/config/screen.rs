//! `[models.screen]`: what providers don't get to see.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use steadfast_core::config::Problem;
use steadfast_guard::pii::{Detector, Kind};

/// What is done about one kind of personal data.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// The provider gets a placeholder, and the answer the value again.
    #[default]
    Redact,
    /// The call is refused.
    Refuse,
    /// It is not looked for.
    Off,
}

/// `[models.screen]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ScreenConfig {
    /// Whether calls are looked through for personal data and secrets before a provider,
    /// the cache or a record sees them. A route may say otherwise.
    pub enabled: bool,
    /// What is done about which kind.
    pub kinds: KindsConfig,
    /// Texts that are found wherever they stand, in capitals or not.
    pub literals: Vec<String>,
    /// Regular expressions that find more.
    pub patterns: Vec<String>,
}

impl Default for ScreenConfig {
    fn default() -> Self {
        Self { enabled: true, kinds: KindsConfig::default(), literals: Vec::new(), patterns: Vec::new() }
    }
}

/// What is done about which kind.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct KindsConfig {
    /// E-mail addresses, also those that are written out in words.
    pub email: Action,
    /// Telephone numbers.
    pub phone: Action,
    /// Numbers of payment cards.
    pub card: Action,
    /// International bank account numbers.
    pub iban: Action,
    /// Mexican bank account numbers.
    pub clabe: Action,
    /// Mexican citizens' codes.
    pub curp: Action,
    /// Mexican tax ids.
    pub rfc: Action,
    /// Social security numbers of the United States.
    pub ssn: Action,
    /// Public IP addresses. Private ones are never touched.
    pub ip: Action,
    /// Keys, tokens and passwords with well-known beginnings.
    pub secret: Action,
    /// What `literals` and `patterns` find.
    pub custom: Action,
}

impl KindsConfig {
    /// What is done about `kind`.
    pub fn action(&self, kind: Kind) -> Action {
        match kind {
            Kind::Email => self.email,
            Kind::Phone => self.phone,
            Kind::Card => self.card,
            Kind::Iban => self.iban,
            Kind::Clabe => self.clabe,
            Kind::Curp => self.curp,
            Kind::Rfc => self.rfc,
            Kind::Ssn => self.ssn,
            Kind::Ip => self.ip,
            Kind::Secret => self.secret,
            Kind::Custom => self.custom,
        }
    }
}

impl ScreenConfig {
    /// What finds all that something is done about.
    pub(crate) fn detector(&self) -> Result<Detector, steadfast_guard::pii::PatternError> {
        let wanted = Kind::ALL.into_iter().filter(|kind| self.kinds.action(*kind) != Action::Off);
        Detector::new(wanted, &self.literals, &self.patterns)
    }
    /// Patterns that are none.
    pub(crate) fn check(&self, section: &str, problems: &mut Vec<Problem>) {
        if let Err(error) = self.detector() {
            let key = if matches!(error, steadfast_guard::pii::PatternError::Pattern(..)) {
                "patterns"
            } else {
                "literals"
            };
            problems.push(Problem::about(format!("{section}.screen.{key}"), error.to_string()));
        }
    }
}
