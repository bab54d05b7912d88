//! Deadline, retry, breaker, bulkhead, rate limit and fallback.
