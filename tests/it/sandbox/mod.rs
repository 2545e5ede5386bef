//! The simulated API, over its real listener: one file a concern.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod endpoints;
mod faults;
mod lists;
mod webhooks;

use allai_sync::sandbox::{Options, Sandbox};
use reqwest::{Method, StatusCode};
use serde_json::Value;

/// A sandbox and somebody who talks to it.
struct Caller {
    sandbox: Sandbox,
    client: reqwest::Client,
    key: String,
}

impl Caller {
    async fn start(options: Options) -> Self {
        Self::with(Sandbox::start(options).await.unwrap())
    }

    fn with(sandbox: Sandbox) -> Self {
        #[expect(clippy::disallowed_methods, reason = "a caller that is not our client")]
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let key = sandbox.keys().full.clone();
        Self { sandbox, client, key }
    }

    fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let url = self.sandbox.base_url().join(path).unwrap();
        self.client.request(method, url).bearer_auth(&self.key)
    }

    async fn get(&self, path: &str) -> (StatusCode, Value) {
        answer(self.request(Method::GET, path)).await
    }

    async fn send(&self, method: Method, path: &str, body: Value) -> (StatusCode, Value) {
        answer(self.request(method, path).json(&body)).await
    }

    /// The rows of a list in an envelope `data`.
    async fn rows(&self, path: &str) -> Vec<Value> {
        let (status, body) = self.get(path).await;
        assert_eq!(status, 200, "{path}: {body}");
        body["data"]
            .as_array()
            .unwrap_or_else(|| panic!("{path}: {body}"))
            .clone()
    }
}

async fn answer(request: reqwest::RequestBuilder) -> (StatusCode, Value) {
    let response = request.send().await.unwrap();
    (response.status(), response.json().await.unwrap())
}
