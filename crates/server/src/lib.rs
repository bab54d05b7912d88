//! HTTP, authentication, problem documents and metrics.
