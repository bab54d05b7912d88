use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use anyhow::ensure;
use futures::{StreamExt as _, TryStreamExt as _, future::try_join_all, stream};
use steadfast_bank::{AccountId, Bank, BankConfig, Key, Limits, Status, TransferRequest, op::OpenAccount};
use steadfast_core::{Currency, Money, Principal, TenantId, World};

use super::{
    Plan, Report,
    floor::measure,
    place::Place,
    rate,
    report::{Bar, Line},
    timed,
};
use crate::output;

const ACCOUNTS: u64 = 10_000;
const AT_ONCE: u64 = 256;
const OPENING: i64 = 100_000_000;

/// How fast money moves, each transfer under an idempotency key of its own.
pub(crate) async fn transfers(plan: &Plan) -> anyhow::Result<Report> {
    let place = Place::make(&plan.folder).await?;
    let (bank, decider) =
        Bank::open(place.log.clone(), place.world.clone(), place.node(), BankConfig::default());
    let deciding = tokio::spawn(decider);
    let load = Arc::new(Load { bank, world: place.world.clone(), sent: AtomicU64::new(0) });
    load.open_accounts().await?;
    let mut uniform = Line::new("256 at once, among 10 000 accounts", "transfers/s", Bar::AtLeast(15_000.0));
    let mut one = Line::new("256 at once, all into one account", "transfers/s", Bar::AtLeast(5_000.0));
    let mut floors = Vec::new();
    let bar = output::progress(plan.rounds as u64, "rounds");
    for _ in 0..plan.rounds {
        let floor = measure(place.folder(), &place.world).await?;
        let each = plan.count(60);
        for (line, target) in [(&mut uniform, Target::Any), (&mut one, Target::First)] {
            let took = timed(&place.world, load.clone().round(each, target)).await?;
            line.push(rate(AT_ONCE * each, took), floor.group);
        }
        floors.push(floor);
        bar.inc(1);
    }
    bar.finish_and_clear();
    drop(load);
    deciding.await?;
    let (stats, verdict) = (place.stats(), place.verify().await?);
    let lines = vec![uniform, one];
    Ok(Report::new("bench transfers", &floors, lines, stats, verdict))
}

#[derive(Clone, Copy)]
enum Target {
    Any,
    First,
}

struct Load {
    bank: Bank,
    world: World,
    sent: AtomicU64,
}

impl Load {
    async fn open_accounts(&self) -> anyhow::Result<()> {
        let admin = Principal::system(TenantId::default());
        let bar = output::progress(ACCOUNTS, "accounts");
        stream::iter(0..ACCOUNTS)
            .map(|number| self.open_account(&admin, number))
            .buffer_unordered(1_024)
            .try_for_each(|()| async {
                bar.inc(1);
                Ok(())
            })
            .await?;
        bar.finish_and_clear();
        Ok(())
    }

    async fn open_account(&self, admin: &Principal, number: u64) -> anyhow::Result<()> {
        let owner = format!("u{number}");
        let op = OpenAccount {
            account: account(number)?,
            owner: owner.clone(),
            name: "checking".into(),
            opening: Money::new(OPENING, Currency::MXN)?,
            floor: 0,
            limits: Limits::default(),
        };
        let reply = self.bank.open_account(admin, Key::Import(owner), op).await?;
        ensure!(reply.answer.status == Status::Settled, "no account");
        Ok(())
    }

    async fn round(self: Arc<Self>, each: u64, target: Target) -> anyhow::Result<()> {
        let callers = (0..AT_ONCE).map(|_| {
            let load = self.clone();
            tokio::spawn(async move {
                for _ in 0..each {
                    load.transfer(target).await?;
                }
                anyhow::Ok(())
            })
        });
        for done in try_join_all(callers).await? {
            done?;
        }
        Ok(())
    }

    async fn transfer(&self, target: Target) -> anyhow::Result<()> {
        let chance = self.world.chance();
        let to = match target {
            Target::Any => chance.below(ACCOUNTS),
            Target::First => 0,
        };
        // Anyone but the one who is paid.
        let from = (to + 1 + chance.below(ACCOUNTS - 1)) % ACCOUNTS;
        let payer = Principal {
            tenant: TenantId::default(),
            user: format!("u{from}"),
            role: steadfast_core::Role::User,
        };
        let request = TransferRequest {
            to: account(to)?.to_string(),
            from: Some(account(from)?),
            amount: Money::new(1, Currency::MXN)?,
            memo: None,
        };
        let number = self.sent.fetch_add(1, Ordering::Relaxed);
        let key = Key::Client(format!("transfer-{number}"));
        let reply = self.bank.transfer(&payer, key, request).await?;
        ensure!(reply.answer.status == Status::Settled, "a transfer was refused");
        Ok(())
    }
}

fn account(number: u64) -> anyhow::Result<AccountId> {
    Ok(AccountId::of(&format!("u{number}"), "checking")?)
}
