use std::sync::Arc;

use axum::{
    Router,
    extract::FromRef,
    routing::{get, post},
};
use steadfast_bank::Bank;
use steadfast_bank_assistant::Conversations;
use steadfast_server::{App, Conversation, Edge};

use crate::{accounts, contacts, conversation::Desk, customers, imports, products, purchases, transfers};

/// The bank as an application of the server.
#[derive(Debug, Clone)]
pub struct BankApp {
    bank: Bank,
    conversations: Option<Conversations>,
}

impl BankApp {
    /// Over a bank whose decider runs and whose purchase workflow the engine knows.
    pub const fn new(bank: Bank) -> Self {
        Self { bank, conversations: None }
    }

    /// With an assistant on `/ws`.
    pub fn conversing(self, conversations: Conversations) -> Self {
        Self { conversations: Some(conversations), ..self }
    }
}

/// What its handlers lean on.
#[derive(Debug, Clone)]
pub(crate) struct Counter {
    pub(crate) edge: Edge,
    pub(crate) bank: Bank,
}

impl FromRef<Counter> for Edge {
    fn from_ref(counter: &Counter) -> Self {
        counter.edge.clone()
    }
}

impl FromRef<Counter> for Bank {
    fn from_ref(counter: &Counter) -> Self {
        counter.bank.clone()
    }
}

impl App for BankApp {
    fn name(&self) -> &'static str {
        "bank"
    }
    fn routes(&self, edge: Edge) -> Router {
        Router::new()
            .route("/accounts", get(accounts::list))
            .route("/accounts/{id}", get(accounts::show))
            .route("/accounts/{id}/transactions", get(accounts::transactions))
            .route("/transactions", get(accounts::all_transactions))
            .route("/transfers", post(transfers::transfer))
            .route("/products", get(products::list))
            .route("/products/{id}", get(products::show))
            .route("/purchases", post(purchases::buy))
            .route("/imports", post(imports::import))
            .route("/contacts", get(contacts::list).post(contacts::add).delete(contacts::remove))
            .route("/customers/{user}/deactivate", post(customers::set::<false>))
            .route("/customers/{user}/activate", post(customers::set::<true>))
            .with_state(Counter { edge, bank: self.bank.clone() })
    }
    fn conversation(&self, edge: Edge) -> Option<Arc<dyn Conversation>> {
        let conversations = self.conversations.clone()?;
        Some(Arc::new(Desk { conversations, world: edge.world().clone() }))
    }
}
