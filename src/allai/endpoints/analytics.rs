//! `/analytics`: the three reports, as the server sent them. [`model`](crate::allai::model) reads them.

use serde_json::value::RawValue;

use crate::allai::call::Call;
use crate::allai::model::{Json, Members};
use crate::allai::page::not_json;
use crate::allai::{Client, Error};

impl Client {
    /// `GET /analytics/overview`: general statistics of a period such as `30d`.
    ///
    /// ```
    /// # use allai_sync::allai::Client;
    /// # use allai_sync::sandbox::{Options, Sandbox};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let sandbox = Sandbox::start(Options::for_tests(3, 2)).await?;
    /// # let client = Client::builder(sandbox.base_url().clone(), sandbox.keys().full.as_str().into()).build()?;
    /// use allai_sync::allai::model::Overview;
    ///
    /// let raw = client.analytics_overview("30d").await?;
    /// let overview = Overview::decode(&raw).expect("a report");
    /// assert!(overview.total_conversations.is_some());
    /// # Ok(())
    /// # }
    /// ```
    pub async fn analytics_overview(&self, period: &str) -> Result<Json, Error> {
        self.report("overview", [("period", period)]).await
    }

    /// `GET /analytics/conversations`: conversations per `day` (the granularity the guide names) of a period.
    ///
    /// ```
    /// # use allai_sync::allai::Client;
    /// # use allai_sync::sandbox::{Options, Sandbox};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let sandbox = Sandbox::start(Options::for_tests(3, 2)).await?;
    /// # let client = Client::builder(sandbox.base_url().clone(), sandbox.keys().full.as_str().into()).build()?;
    /// use allai_sync::allai::model::DailyReport;
    ///
    /// let raw = client.analytics_conversations("7d", "day").await?;
    /// let report = DailyReport::decode(&raw).expect("a report");
    /// assert!(report.days.is_sorted_by_key(|day| day.day));
    /// # Ok(())
    /// # }
    /// ```
    pub async fn analytics_conversations(&self, period: &str, granularity: &str) -> Result<Json, Error> {
        self.report("conversations", [("period", period), ("granularity", granularity)])
            .await
    }

    /// `GET /analytics/satisfaction`: the satisfaction report of a period.
    ///
    /// ```
    /// # use allai_sync::allai::Client;
    /// # use allai_sync::sandbox::{Options, Sandbox};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let sandbox = Sandbox::start(Options::for_tests(3, 2)).await?;
    /// # let client = Client::builder(sandbox.base_url().clone(), sandbox.keys().full.as_str().into()).build()?;
    /// use allai_sync::allai::model::Satisfaction;
    ///
    /// let raw = client.analytics_satisfaction("90d").await?;
    /// let report = Satisfaction::decode(&raw).expect("a report");
    /// assert!(report.total_ratings.is_some());
    /// # Ok(())
    /// # }
    /// ```
    pub async fn analytics_satisfaction(&self, period: &str) -> Result<Json, Error> {
        self.report("satisfaction", [("period", period)]).await
    }

    async fn report<const N: usize>(&self, name: &str, parameters: [(&'static str, &str); N]) -> Result<Json, Error> {
        let parameters = parameters.map(|(name, value)| (name, value.to_owned()));
        let call = Call::get(&["analytics", name]).query(parameters);
        self.execute(&call, |body| {
            let raw: &RawValue = serde_json::from_slice(body).map_err(|error| not_json(&error, body))?;
            // The shapes are not documented; but a report is an object or a list, and not an error message.
            match raw.get().as_bytes().first() {
                Some(b'[') => Ok(raw.to_owned()),
                Some(b'{') if !is_error(raw) => Ok(raw.to_owned()),
                _ => Err("it is not a report".to_owned()),
            }
        })
        .await
    }
}

fn is_error(raw: &RawValue) -> bool {
    Members::parse(raw).is_none_or(|members| members.len() == 1 && members.get("error").is_some())
}
