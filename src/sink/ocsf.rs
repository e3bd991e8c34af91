//! A record as an OCSF Detection Finding (category 2, class 2004), with the profile of clouds. Knows no receiver.
//!
//! Source: the schema of github.com/ocsf/ocsf-schema, version 1.8.0.

use serde_json::{Value, json};

use super::Severity;
use super::asff::partition;
use crate::insight::trail::{Highwater, TrailRecord};
use crate::report;

const CATEGORY: u32 = 2;
const CLASS: u32 = 2004;

/// Milliseconds since 1970 of a time in a record.
fn milliseconds(time: &str) -> Option<i64> {
    chrono::DateTime::parse_from_rfc3339(time).ok().map(|time| time.timestamp_millis())
}

/// Values of one attribute of the extra calls, largest share first.
fn callers<'a>(extra: Option<&'a Highwater>, attribute: &str) -> Vec<&'a str> {
    let all = extra.map_or(&[][..], |extra| &extra.excess).iter();
    all.filter(|excess| excess.attribute == attribute)
        .flat_map(|excess| &excess.values)
        .map(|value| value.value.as_str())
        .filter(|value| !value.starts_with('('))
        .collect()
}

pub fn finding(record: &TrailRecord, link: Option<&str>) -> Value {
    let details = &record.insight_details;
    let context = &details.insight_context;
    let statistics = &context.statistics;
    let extra = record.highwater.as_ref();
    let ended = details.state == "End";
    let (activity, activity_name) = if ended { (3, "Close") } else { (1, "Create") };
    let (status_id, status) = if ended { (4, "Resolved") } else { (1, "New") };
    let event_ms = milliseconds(&record.event_time).unwrap_or_default();
    let duration_ms = statistics.insight_duration.unwrap_or(0).saturating_mul(60_000);
    let detected_ms = extra.and_then(|extra| milliseconds(&extra.detected_time));
    let (start_ms, end_ms) = if ended {
        (event_ms.saturating_sub(duration_ms), event_ms)
    } else {
        // The duration of a start may count minutes before it, and nothing has been seen after it was detected.
        let end_ms = event_ms.saturating_add(duration_ms);
        (event_ms, detected_ms.map_or(end_ms, |detected_ms| end_ms.min(detected_ms).max(event_ms)))
    };
    let detected_ms = detected_ms.unwrap_or(end_ms);
    let severity = extra.and_then(|extra| Severity::parse(&extra.severity));
    let severity_id = severity.map_or(0, |severity| severity as u32 + 1);
    let caption = match severity {
        Some(Severity::Info) => "Informational",
        Some(Severity::Low) => "Low",
        Some(Severity::Medium) => "Medium",
        Some(Severity::High) => "High",
        Some(Severity::Critical) => "Critical",
        None => "Unknown",
    };
    let principals = callers(extra, "userIdentityArn");
    let addresses = callers(extra, "sourceIPAddress");
    let api = json!({
        "operation": details.event_name,
        "service": { "name": details.event_source },
        "response": details.error_code.as_ref().map(|code| json!({ "error": code })),
    });
    let mut evidences: Vec<Value> = principals
        .iter()
        .map(|arn| json!({ "api": api, "actor": { "user": { "uid": arn, "name": name(arn) } } }))
        .collect();
    evidences.extend(addresses.iter().filter(|text| is_ip(text)).map(|ip| json!({ "src_endpoint": { "ip": ip } })));
    if evidences.is_empty() {
        evidences.push(json!({ "api": api }));
    }
    // 2: what is an IP address; 31: the attribute `uid` of a user.
    let mut observables: Vec<Value> = Vec::new();
    for (place, evidence) in evidences.iter().enumerate() {
        for (path, pointer, kind, kind_id) in [
            ("actor.user.uid", "/actor/user/uid", "User Object: uid", 31),
            ("src_endpoint.ip", "/src_endpoint/ip", "IP Address", 2),
        ] {
            if let Some(value) = evidence.pointer(pointer) {
                let name = format!("evidences[{place}].{path}");
                observables.push(json!({ "name": name, "type": kind, "type_id": kind_id, "value": value }));
            }
        }
    }
    let observation = |average: f64, minutes: Option<i64>| {
        let duration = minutes.map(|minutes| json!({ "duration_mins": minutes }));
        json!([{ "value": format!("{average} per minute"), "timespan": duration }])
    };
    let what = if details.error_code.is_some() { "Error rate" } else { "Call rate" };
    let mut finding = json!({
        "category_uid": CATEGORY,
        "category_name": "Findings",
        "class_uid": CLASS,
        "class_name": "Detection Finding",
        "activity_id": activity,
        "activity_name": activity_name,
        "type_uid": CLASS * 100 + activity,
        "type_name": format!("Detection Finding: {activity_name}"),
        "severity_id": severity_id,
        "severity": caption,
        "status_id": status_id,
        "status": status,
        "is_alert": !ended,
        "time": detected_ms,
        "start_time": start_ms,
        "end_time": end_ms,
        "count": extra.map(|extra| extra.observed),
        "message": extra.map(|extra| extra.reason.as_str()),
        "metadata": {
            "version": "1.8.0",
            "uid": record.event_id,
            "correlation_uid": extra.and_then(|extra| extra.incident_id.as_deref()),
            "product": { "name": "Highwater", "vendor_name": "Highwater", "version": env!("CARGO_PKG_VERSION") },
            "profiles": ["cloud"],
        },
        "cloud": {
            "provider": "AWS",
            "region": record.aws_region,
            "account": { "uid": record.recipient_account_id, "type": "AWS Account", "type_id": 10 },
        },
        "finding_info": {
            "uid": record.shared_event_id,
            "title": report::title(record),
            "desc": extra.map(|extra| extra.reason.as_str()),
            "types": [details.insight_type],
            "analytic": {
                "name": details.insight_type,
                "uid": format!("highwater/{}", details.insight_type),
                "type": "Learning (ML/DL)",
                "type_id": 4,
                "version": extra.map(|extra| extra.model.as_str()),
            },
            "created_time": (!ended).then_some(detected_ms),
            "modified_time": ended.then_some(detected_ms),
            "first_seen_time": start_ms,
            "last_seen_time": end_ms,
            "src_url": link,
        },
        "resources": [{
            "uid": format!("AWS::::Account:{}", record.recipient_account_id),
            "type": "AWS Account",
            "cloud_partition": partition(&record.aws_region),
            "region": record.aws_region,
        }],
        "evidences": evidences,
        "anomaly_analyses": [{
            "analysis_targets": [{ "name": format!("{}:{}", details.event_source, details.event_name), "type": "API" }],
            "anomalies": [{
                "observation_parameter": what,
                "observation_type": "Frequency Analysis",
                "observed_pattern": extra.map(|extra| extra.direction.as_str()),
                "observations": observation(statistics.insight.average.0, statistics.insight_duration),
            }],
            "baselines": [{
                "observation_parameter": what,
                "observation_type": "Frequency Analysis",
                "observations": observation(statistics.baseline.average.0, statistics.baseline_duration),
            }],
        }],
        "unmapped": { "cloudtrail_insight": record },
    });
    if !observables.is_empty() {
        finding["observables"] = Value::Array(observables);
    }
    without_nulls(&mut finding);
    finding
}

/// The last part of an ARN.
fn name(arn: &str) -> &str {
    arn.rsplit(['/', ':']).next().unwrap_or(arn)
}

fn is_ip(text: &str) -> bool {
    text.parse::<std::net::IpAddr>().is_ok()
}

/// What is not known is left out.
fn without_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, value| !value.is_null());
            fields.values_mut().for_each(without_nulls);
        }
        Value::Array(values) => values.iter_mut().for_each(without_nulls),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::filter::tests::{end, record};

    #[test]
    fn a_start_creates_and_an_end_closes_the_same_finding() {
        let start = finding(&record(), Some("https://h/1"));
        for (field, value) in [
            ("class_uid", 2004_i64),
            ("category_uid", 2),
            ("activity_id", 1),
            ("type_uid", 200_401),
            ("severity_id", 4),
            ("status_id", 1),
            ("time", 1_772_633_520_000),
            ("start_time", 1_772_633_220_000),
            ("count", 49),
        ] {
            assert_eq!(start[field], value, "{field}");
        }
        assert_eq!(start["metadata"]["version"], "1.8.0");
        assert_eq!(start["finding_info"]["uid"], "0f0e0a5b-1111-5c1b-8f0e-0a5b8f0e0a5b");
        assert_eq!(start["finding_info"]["src_url"], "https://h/1");
        assert_eq!(start["cloud"]["account"]["uid"], "123456789012");
        assert_eq!(start["evidences"][0]["actor"]["user"]["name"], "deploy");
        assert_eq!(start["evidences"][1]["src_endpoint"]["ip"], "203.0.113.7");
        assert_eq!((&start["observables"][0]["type_id"], &start["observables"][1]["type_id"]), (&31.into(), &2.into()));
        assert_eq!(start["anomaly_analyses"][0]["analysis_targets"][0]["name"], "ec2.amazonaws.com:RunInstances");
        assert!(!start.to_string().contains("null"), "{start}");
        let end = finding(&end(), None);
        assert_eq!(
            (&end["type_uid"], &end["status_id"], &end["is_alert"]),
            (&200_403.into(), &4.into(), &false.into())
        );
        assert_eq!(end["finding_info"]["uid"], start["finding_info"]["uid"]);
        assert_eq!(end["start_time"], start["start_time"]);
    }

    #[test]
    fn a_record_of_aws_has_enough_for_a_finding() {
        let mut record = record();
        record.highwater = None;
        let finding = finding(&record, None);
        assert_eq!(
            (&finding["severity_id"], &finding["evidences"][0]["api"]["operation"]),
            (&0.into(), &"RunInstances".into())
        );
    }
}
