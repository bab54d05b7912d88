use std::{future::Future, sync::Arc};

use serde::{Deserialize, Serialize};
use steadfast_core::{Coded, Currency, Failure, Money, NodeId, Principal, TenantId, World, canonical::Hash};
use steadfast_log::Log;
use tokio::sync::{Notify, mpsc, oneshot};

use crate::{
    AccountId, Ask, BankConfig, Key, Op, Reply, Stats,
    customer::Customers,
    decider::{Decider, Request, busy},
    directory::Directory,
    op::{OpenAccount, Transfer},
    queries::Views,
};

/// The bank. Cheap to clone.
#[derive(Clone)]
pub struct Bank {
    pub(crate) log: Arc<dyn Log>,
    pub(crate) world: World,
    pub(crate) config: Arc<BankConfig>,
    pub(crate) directory: Arc<Directory>,
    pub(crate) views: Arc<Views>,
    pub(crate) customers: Arc<Customers>,
    stats: Arc<Stats>,
    decider: mpsc::Sender<Request>,
    closing: Arc<Notify>,
}

/// A transfer as people ask for it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TransferRequest {
    /// A user, who is paid into their first checking account of the currency, or an
    /// account.
    pub to: String,
    /// The account to pay from; the caller's first checking account when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<AccountId>,
    /// How much; above zero.
    pub amount: Money,
    /// What for; at most 140 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memo: Option<String>,
}

const MEMO_MAX: usize = 140;

impl Bank {
    /// A bank on `log`, and its decider, which must run for it to answer and ends once
    /// the bank is closed or its last clone is gone.
    pub fn open(
        log: Arc<dyn Log>,
        world: World,
        node: NodeId,
        config: BankConfig,
    ) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let config = Arc::new(config);
        let stats = Arc::new(Stats::default());
        let (decider, inbox) = mpsc::channel(config.queue.get());
        let closing = Arc::new(Notify::new());
        let run = Decider::new(log.clone(), world.clone(), node, config.clone(), stats.clone(), inbox)
            .run(closing.clone());
        let bank = Self {
            directory: Arc::new(Directory::new(log.clone(), config.cached)),
            views: Arc::new(Views::new(log.clone(), config.cached)),
            customers: Arc::new(Customers::new(log.clone(), world.clone(), &config)),
            log,
            world,
            config,
            stats,
            decider,
            closing,
        };
        (bank, run)
    }

    /// Takes in nothing more. The decider answers what it has taken in, and then ends.
    pub fn close(&self) {
        self.closing.notify_one();
    }

    /// What the decider has counted.
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// Has an operation decided and waits until its outcome is durable. An error means
    /// that nothing was accepted, unless it says that nobody knows. Dropping the future
    /// does not take the operation back. Whether the customer may act at all is not asked
    /// here, but at the doors that customers come through: see [`Bank::admit`].
    pub async fn ask(&self, ask: Ask) -> Result<Reply, Failure> {
        let (reply, answer) = oneshot::channel();
        let mut request = Request::new(ask, &self.world, reply)?;
        request.find_forward(&*self.log).await?;
        self.decider.try_send(request).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => busy(),
            mpsc::error::TrySendError::Closed(_) => stopped(true),
        })?;
        tokio::select! {
            biased;
            answer = answer => answer.unwrap_or_else(|_| Err(stopped(false))),
            () = self.world.clock().sleep(self.config.answer_within.get()) => Err(late()),
        }
    }

    /// Moves money, as the principal, under an idempotency key of theirs. Like
    /// [`Bank::ask`], for those who have been let in.
    pub async fn transfer(
        &self,
        principal: &Principal,
        key: Key,
        request: TransferRequest,
    ) -> Result<Reply, Failure> {
        let hash =
            Hash::of(&request).map_err(|error| Failure::refused("request.invalid", error.to_string()))?;
        let op = self.transfer_op(principal, request).await?;
        let mut ask = Ask::new(Op::Transfer(op), principal.clone(), key);
        ask.request = Some(hash);
        self.ask(ask).await
    }

    /// The operation that a transfer request means: finds the accounts of the users.
    pub async fn transfer_op(
        &self,
        principal: &Principal,
        request: TransferRequest,
    ) -> Result<Transfer, Failure> {
        let amount = request.amount.positive().map_err(|error| error.failure())?;
        if let Some(memo) = &request.memo
            && (memo.chars().count() > MEMO_MAX || memo.chars().any(char::is_control))
        {
            return Err(Failure::refused(
                "memo.invalid",
                format!("memo must have at most {MEMO_MAX} characters and no line breaks"),
            ));
        }
        let tenant = &principal.tenant;
        let currency = amount.currency();
        let from = match request.from {
            Some(from) => from,
            None => self.paying_account(tenant, &principal.user, currency).await?,
        };
        let to = self.payee(tenant, &request.to, currency).await?;
        Ok(Transfer { from, to, amount, memo: request.memo.map(Into::into), imported: false, booked: None })
    }

    /// The account a user pays from when none is named.
    pub(crate) async fn paying_account(
        &self,
        tenant: &TenantId,
        user: &str,
        currency: Currency,
    ) -> Result<AccountId, Failure> {
        let found = self.directory.default_account(tenant, user, currency).await;
        found?.ok_or_else(|| {
            Failure::refused(
                "account.no_default",
                format!("you have no checking account in {currency}: name `from`"),
            )
        })
    }

    /// Opens an account. An account id and a user's name must not be equal, so that
    /// whoever is paid by name is never in doubt.
    pub async fn open_account(
        &self,
        principal: &Principal,
        key: Key,
        op: OpenAccount,
    ) -> Result<Reply, Failure> {
        let tenant = &principal.tenant;
        let taken = |what: &str| {
            let message = format!("{what} is already taken as the name of a user or an account");
            Failure::refused("account.name_taken", message)
        };
        if self.directory.is_user(tenant, op.account.as_str()).await? {
            return Err(taken(op.account.as_str()));
        }
        if let Ok(same) = op.owner.parse::<AccountId>()
            && self.views.exists(&same.stream(tenant)).await?
        {
            return Err(taken(&op.owner));
        }
        self.ask(Ask::new(Op::OpenAccount(op), principal.clone(), key)).await
    }
}

fn stopped(nothing_happened: bool) -> Failure {
    let mut failure = Failure::internal("ledger.stopped", "the bank is closing; ask again later");
    failure.nothing_happened = nothing_happened;
    failure.retryable()
}

fn late() -> Failure {
    Failure::internal("ledger.late", "no answer in time: ask again with the same key to learn the outcome")
        .retryable()
}

impl std::fmt::Debug for Bank {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bank").finish_non_exhaustive()
    }
}
