//! Which insights a sink wants: severity, accounts, Regions, APIs, and what is muted. Knows nothing of where they go.

use super::{Severity, Sink};
use crate::insight::mute::{Glob, api_name};
use crate::insight::trail::TrailRecord;

pub struct Filter {
    severity: Option<Severity>,
    accounts: Vec<Glob>,
    regions: Vec<Glob>,
    apis: Vec<Glob>,
    muted: bool,
}

impl Filter {
    pub fn new(sink: &Sink) -> Result<Filter, String> {
        let patterns = |field: &str, texts: &[String]| -> Result<Vec<Glob>, String> {
            texts.iter().map(|text| Glob::new(text).map_err(|error| format!("{field}: {error}"))).collect()
        };
        if let Some(api) = sink.apis.iter().find(|api| !api.contains(':') && *api != "*") {
            return Err(format!("apis: {api:?}: an API is named like ec2:RunInstances or iam:*"));
        }
        Ok(Filter {
            severity: sink.severity,
            accounts: patterns("accounts", &sink.accounts)?,
            regions: patterns("regions", &sink.regions)?,
            apis: patterns("apis", &sink.apis)?,
            muted: sink.muted,
        })
    }

    pub fn passes(&self, record: &TrailRecord) -> bool {
        let any = |patterns: &[Glob], text: &str| patterns.is_empty() || patterns.iter().any(|glob| glob.fits(text));
        let extra = record.highwater.as_ref();
        // A record that does not tell its severity is not kept from anybody.
        let severity = extra.and_then(|extra| Severity::parse(&extra.severity)).unwrap_or(Severity::Critical);
        self.severity.is_none_or(|least| severity >= least)
            && (self.muted || extra.is_none_or(|extra| extra.muted_by.is_none()))
            && any(&self.accounts, &record.recipient_account_id)
            && any(&self.regions, &record.aws_region)
            && any(&self.apis, &api(record))
    }
}

/// `ec2:RunInstances`, as policies name it.
pub fn api(record: &TrailRecord) -> String {
    let details = &record.insight_details;
    api_name(&details.event_source, &details.event_name)
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// A made-up start, as `highwater watch` writes it.
    pub fn record() -> TrailRecord {
        let text = r#"{"eventVersion":"1.09","eventTime":"2026-03-04T14:07:00Z","awsRegion":"us-east-1",
            "eventID":"9b5b2f0a-6b2f-5c1b-8f0e-0a5b8f0e0a5b","eventType":"AwsCloudTrailInsight",
            "recipientAccountId":"123456789012","sharedEventID":"0f0e0a5b-1111-5c1b-8f0e-0a5b8f0e0a5b",
            "insightDetails":{"state":"Start","eventSource":"ec2.amazonaws.com","eventName":"RunInstances",
            "insightType":"ApiCallRateInsight","sourceEventCategory":"Management","insightContext":{"statistics":
            {"baseline":{"average":0.7},"insight":{"average":9.8},"insightDuration":5,"baselineDuration":10927},
            "attributions":[]}},"eventCategory":"Insight","highwater":{"direction":"up","score":7.1,"threshold":2.5,
            "severity":"high","observed":49,"expected":{"average":0.7,"lower":0,"upper":3},"ratio":14,"lnOdds":-16.6,
            "odds":"about once in 40 years for this API","new":[],"detectedTime":"2026-03-04T14:12:00Z",
            "reason":"RunInstances was called 49 times <in> 5 minutes & more.","excess":[
            {"attribute":"userIdentityArn","values":[{"value":"arn:aws:sts::123456789012:assumed-role/deploy",
            "average":9,"baselineAverage":0,"share":0.93,"firstSeen":true}]},{"attribute":"sourceIPAddress","values":
            [{"value":"203.0.113.7","average":9,"baselineAverage":0,"share":0.93,"firstSeen":true}]}],
            "attributionExact":true,"model":"judge-1"}}"#;
        serde_json::from_str(text).expect("a record")
    }

    /// Its end, 34 minutes later.
    pub fn end() -> TrailRecord {
        let mut record = record();
        record.insight_details.state = "End".to_owned();
        record.insight_details.insight_context.statistics.insight_duration = Some(34);
        record.event_time = "2026-03-04T14:41:00Z".to_owned();
        record.event_id = "9b5b2f0a-6b2f-5c1b-8f0e-0a5b8f0e0eee".to_owned();
        record
    }

    fn passes(sink: Sink, record: &TrailRecord) -> bool {
        Filter::new(&sink).expect("a filter").passes(record)
    }

    #[test]
    fn a_filter_asks_all_and_passes_what_is_not_asked() {
        let record = record();
        let texts = |texts: &[&str]| -> Vec<String> { texts.iter().map(|text| (*text).to_owned()).collect() };
        assert!(passes(Sink::default(), &record));
        assert!(passes(Sink { severity: Some(Severity::High), ..Sink::default() }, &record));
        assert!(!passes(Sink { severity: Some(Severity::Critical), ..Sink::default() }, &record));
        for (apis, wanted) in [("ec2:RunInstances", true), ("*:Run*", true), ("ec2:*", true), ("iam:*", false)] {
            assert_eq!(passes(Sink { apis: texts(&[apis]), ..Sink::default() }, &record), wanted, "{apis}");
        }
        assert!(passes(Sink { regions: texts(&["eu-*", "us-*"]), ..Sink::default() }, &record));
        assert!(!passes(Sink { regions: texts(&["eu-*"]), accounts: texts(&["123*"]), ..Sink::default() }, &record));
        assert!(!passes(Sink { accounts: texts(&["000000000000"]), ..Sink::default() }, &record));
        assert!(Filter::new(&Sink { apis: texts(&["RunInstances"]), ..Sink::default() }).is_err());
    }

    #[test]
    fn what_is_muted_is_sent_only_where_asked_for() {
        let mut record = record();
        if let Some(extra) = &mut record.highwater {
            extra.muted_by = Some("nightly backup".to_owned());
        }
        assert!(!passes(Sink::default(), &record));
        assert!(passes(Sink { muted: true, ..Sink::default() }, &record));
    }
}
