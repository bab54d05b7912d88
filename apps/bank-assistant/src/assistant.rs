use std::sync::Arc;

use steadfast_bank::Bank;
use steadfast_core::{Failure, Principal, Role, World, secret::Keyring};
use steadfast_engine::StepTask;
use steadfast_log::Log;

use crate::{
    AssistantConfig,
    check::{Question, Scene, Verdict},
    exchange::Listen,
    session::{Said, Sessions},
    understand::{Context, Language, Understand, Understood},
};

/// What the steps of the assistant's runs lean on. Cheap to clone.
#[derive(Clone)]
pub struct Assistant {
    inner: Arc<Inner>,
}

struct Inner {
    bank: Bank,
    log: Arc<dyn Log>,
    world: World,
    sessions: Sessions,
    keyring: Keyring,
    understanding: Arc<dyn Understand>,
    config: AssistantConfig,
}

impl Assistant {
    /// An assistant of a bank. What people write is sealed with the ring's first key.
    pub fn new(
        bank: Bank,
        log: Arc<dyn Log>,
        world: World,
        keyring: Keyring,
        understanding: Arc<dyn Understand>,
        config: AssistantConfig,
    ) -> Self {
        let sessions = Sessions::new(log.clone(), config.cached_sessions);
        Self { inner: Arc::new(Inner { bank, log, world, sessions, keyring, understanding, config }) }
    }

    /// The bank it works for.
    pub fn bank(&self) -> &Bank {
        &self.inner.bank
    }
    pub(crate) fn log(&self) -> &Arc<dyn Log> {
        &self.inner.log
    }
    pub(crate) fn world(&self) -> &World {
        &self.inner.world
    }
    pub(crate) fn sessions(&self) -> &Sessions {
        &self.inner.sessions
    }
    pub(crate) fn keyring(&self) -> &Keyring {
        &self.inner.keyring
    }
    pub(crate) fn config(&self) -> &AssistantConfig {
        &self.inner.config
    }

    pub(crate) async fn listen(&self, task: &StepTask, listen: Listen) -> Result<Understood, Failure> {
        let Said::Words { text, .. } = &listen.said else {
            return Err(Failure::internal("assistant.no_words", "there is nothing to understand"));
        };
        let text = self.inner.keyring.open(text).map_err(|error| {
            let message =
                format!("what was said cannot be opened: {error}; is the key that sealed it configured?");
            Failure::internal("assistant.sealed", message)
        })?;
        let session = self.inner.sessions.seen(&task.tenant, listen.session).await?;
        let context = Context {
            language: session.language.unwrap_or(Language::default()),
            expecting: listen.expecting,
            ..Context::default()
        };
        self.inner.understanding.understand(&text, &context).await
    }

    pub(crate) async fn check(&self, task: &StepTask, question: Question) -> Result<Verdict, Failure> {
        let scene = Scene {
            bank: &self.inner.bank,
            log: &*self.inner.log,
            world: &self.inner.world,
            principal: Principal {
                tenant: task.tenant.clone(),
                user: task.principal.clone(),
                role: Role::User,
            },
            confirm_within: self.inner.config.confirm_within.get(),
        };
        scene.check(question).await
    }
}

impl std::fmt::Debug for Assistant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Assistant").finish_non_exhaustive()
    }
}
