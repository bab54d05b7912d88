use std::sync::Arc;

use axum::Router;

use crate::{Conversation, Edge};

/// An application: its routes, mounted under `/api/v1/<name>`.
///
/// ```
/// # use axum::{Router, routing::get};
/// # use steadfast_server::{App, Caller, Edge};
/// struct Greeter;
///
/// impl App for Greeter {
///     fn name(&self) -> &'static str {
///         "greeter"
///     }
///     fn routes(&self, edge: Edge) -> Router {
///         let hello = async |caller: Caller| format!("hello, {}", caller.principal.user);
///         Router::new().route("/hello", get(hello)).with_state(edge)
///     }
/// }
/// ```
pub trait App: Send + Sync {
    /// One path segment: a name of the code, not of a user.
    fn name(&self) -> &'static str;
    /// The routes, with their state. Ids, deadlines, panics, metrics and problem documents
    /// are seen to by the server; who may do what is seen to by the handlers, which ask
    /// for a [`crate::Caller`] or a [`crate::Operator`].
    fn routes(&self, edge: Edge) -> Router;
    /// Routes at the root that follow somebody else's conventions, such as `/v1`. Ids,
    /// deadlines and errors are theirs to see to; a client that leaves cancels what it asked
    /// for. Panics and metrics are seen to by the server.
    fn foreign(&self, edge: Edge) -> Router {
        let _ = edge;
        Router::new()
    }
    /// How well it can do its work, in a word, for `/readyz`. A node that is ready may have
    /// applications that are not well.
    fn health(&self) -> Option<&'static str> {
        None
    }
    /// Who converses on `/ws`. The first application that has somebody gets it; without
    /// any, the path is not there.
    fn conversation(&self, edge: Edge) -> Option<Arc<dyn Conversation>> {
        let _ = edge;
        None
    }
}
