//! A record in the AWS Security Finding Format, for Security Hub. Knows no receiver.
//!
//! Source: the Security Hub user guide, "AWS Security Finding Format (ASFF)".

use serde_json::{Value, json};

use super::Severity;
use super::filter::api;
use super::words::{rfc3339, shortened};
use crate::insight::trail::TrailRecord;
use crate::report;

/// Limits of the format, in characters and entries.
const TITLE_MAX: usize = 256;
const DESCRIPTION_MAX: usize = 1_024;
const PRINCIPALS_MAX: usize = 5;

/// `owner`: the account and Region that the finding is kept in, where they are not the record's.
pub fn finding(record: &TrailRecord, owner: (Option<&str>, Option<&str>), link: Option<&str>) -> Value {
    let details = &record.insight_details;
    let statistics = &details.insight_context.statistics;
    let extra = record.highwater.as_ref();
    let ended = details.state == "End";
    let account = owner.0.unwrap_or(&record.recipient_account_id);
    let region = owner.1.unwrap_or(&record.aws_region);
    let time_s = report::time_of(record).0 * 60;
    let duration_s = statistics.insight_duration.unwrap_or(0).saturating_mul(60);
    let detected_s = extra
        .and_then(|extra| chrono::DateTime::parse_from_rfc3339(&extra.detected_time).ok())
        .map(|time| time.timestamp());
    let (start_s, end_s) = if ended {
        (time_s.saturating_sub(duration_s), time_s)
    } else {
        // The duration of a start may count minutes before it, and nothing has been seen after it was detected.
        let end_s = time_s.saturating_add(duration_s);
        (time_s, detected_s.map_or(end_s, |detected_s| end_s.min(detected_s).max(time_s)))
    };
    let detected_s = detected_s.map_or(end_s, |detected_s| detected_s.max(end_s));
    let reason = extra.map(|extra| extra.reason.as_str()).filter(|reason| !reason.is_empty());
    let title = report::title(record);
    let severity = extra.and_then(|extra| Severity::parse(&extra.severity)).unwrap_or(Severity::Medium);
    let (label, normalized) = match severity {
        Severity::Info => ("INFORMATIONAL", 0),
        Severity::Low => ("LOW", 20),
        Severity::Medium => ("MEDIUM", 50),
        Severity::High => ("HIGH", 80),
        Severity::Critical => ("CRITICAL", 95),
    };
    let resource = |kind: &str, id: &str| {
        let mut resource = json!({ "Type": kind, "Id": id, "Region": record.aws_region });
        if let Some(partition) = listed_partition(&record.aws_region) {
            resource["Partition"] = partition.into();
        }
        resource
    };
    let mut resources = vec![resource("AwsAccount", &format!("AWS::::Account:{}", record.recipient_account_id))];
    let callers = extra.map_or(&[][..], |extra| &extra.excess).iter();
    let principals = callers
        .filter(|excess| excess.attribute == "userIdentityArn")
        .flat_map(|excess| &excess.values)
        .filter(|value| value.value.starts_with("arn:"));
    resources.extend(principals.take(PRINCIPALS_MAX).map(|value| {
        let kind = if value.value.contains(":user/") { "AwsIamUser" } else { "Other" };
        resource(kind, &value.value)
    }));
    let mut fields = json!({
        "highwater/api": api(record),
        "highwater/insightType": details.insight_type,
        "highwater/state": details.state,
        "highwater/sharedEventID": record.shared_event_id,
        "highwater/average": statistics.insight.average.text(),
        "highwater/baseline": statistics.baseline.average.text(),
    });
    if let Some(incident) = extra.and_then(|extra| extra.incident_id.as_deref()) {
        fields["highwater/incidentID"] = incident.into();
    }
    let mut finding = json!({
        "SchemaVersion": "2018-10-08",
        "Id": format!("highwater/{}/{}/{}", record.aws_region, record.recipient_account_id, record.shared_event_id),
        "ProductArn": format!("arn:{}:securityhub:{region}:{account}:product/{account}/default", partition(region)),
        "ProductName": "Highwater",
        "CompanyName": "Highwater",
        "GeneratorId": format!("highwater/{}", details.insight_type),
        "AwsAccountId": account,
        "Region": region,
        "Types": ["Unusual Behaviors/User"],
        "CreatedAt": rfc3339(start_s),
        // Later findings of the same Id replace earlier ones only with a later time.
        "UpdatedAt": rfc3339(detected_s.saturating_add(i64::from(ended))),
        "FirstObservedAt": rfc3339(start_s),
        "LastObservedAt": rfc3339(end_s),
        "Severity": { "Label": label, "Normalized": normalized, "Original": severity.as_str() },
        "Title": shortened(&title, TITLE_MAX),
        "Description": shortened(reason.unwrap_or(&title), DESCRIPTION_MAX),
        "ProductFields": fields,
        "Resources": resources,
        "RecordState": if ended { "ARCHIVED" } else { "ACTIVE" },
    });
    if let Some(link) = link {
        finding["SourceUrl"] = link.into();
    }
    finding
}

/// What the format calls the partition of a resource: other words than in ARNs, and none for the newer ones.
fn listed_partition(region: &str) -> Option<&'static str> {
    match partition(region) {
        "aws-iso" => Some("aws-us-iso"),
        "aws-iso-b" => Some("aws-us-iso-b"),
        known @ ("aws" | "aws-cn" | "aws-us-gov") => Some(known),
        _ => None,
    }
}

/// By a Region's name.
pub fn partition(region: &str) -> &'static str {
    match region {
        _ if region.starts_with("cn-") => "aws-cn",
        _ if region.starts_with("us-gov-") => "aws-us-gov",
        _ if region.starts_with("us-iso-") => "aws-iso",
        _ if region.starts_with("us-isob-") => "aws-iso-b",
        _ if region.starts_with("eu-isoe-") => "aws-iso-e",
        _ if region.starts_with("us-isof-") => "aws-iso-f",
        _ if region.starts_with("eusc-") => "aws-eusc",
        _ => "aws",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::filter::tests::{end, record};

    #[test]
    fn a_finding_has_all_that_security_hub_asks_for() {
        let start = finding(&record(), (None, None), None);
        for field in
            ["SchemaVersion", "Id", "ProductArn", "GeneratorId", "AwsAccountId", "CreatedAt", "UpdatedAt", "Title"]
        {
            assert!(start[field].as_str().is_some_and(|text| !text.is_empty()), "{field}");
        }
        assert_eq!(start["ProductArn"], "arn:aws:securityhub:us-east-1:123456789012:product/123456789012/default");
        assert_eq!((&start["Severity"]["Label"], &start["Severity"]["Normalized"]), (&"HIGH".into(), &80.into()));
        assert_eq!(
            (&start["CreatedAt"], &start["UpdatedAt"]),
            (&"2026-03-04T14:07:00Z".into(), &"2026-03-04T14:12:00Z".into())
        );
        assert_eq!(start["Resources"][1]["Id"], "arn:aws:sts::123456789012:assumed-role/deploy");
        let end = finding(&end(), (Some("999999999999"), Some("cn-north-1")), Some("https://h/1"));
        assert_eq!((&end["Id"], &end["CreatedAt"]), (&start["Id"], &start["CreatedAt"]));
        assert_eq!((&end["RecordState"], &end["UpdatedAt"]), (&"ARCHIVED".into(), &"2026-03-04T14:41:01Z".into()));
        assert_eq!(end["AwsAccountId"], "999999999999");
        assert_eq!(end["ProductArn"], "arn:aws-cn:securityhub:cn-north-1:999999999999:product/999999999999/default");
        assert_eq!(end["Resources"][0]["Id"], "AWS::::Account:123456789012");
    }

    #[test]
    fn a_resource_has_a_partition_that_the_format_lists() {
        for (region, listed, own) in [
            ("eu-west-1", Some("aws"), "aws"),
            ("us-gov-west-1", Some("aws-us-gov"), "aws-us-gov"),
            ("us-iso-east-1", Some("aws-us-iso"), "aws-iso"),
            ("us-isof-south-1", None, "aws-iso-f"),
            ("eusc-de-east-1", None, "aws-eusc"),
        ] {
            let mut record = record();
            record.aws_region = region.to_owned();
            let finding = finding(&record, (None, None), None);
            for resource in finding["Resources"].as_array().expect("resources") {
                assert_eq!(resource.get("Partition").and_then(Value::as_str), listed, "{region}");
            }
            assert!(finding["ProductArn"].to_string().starts_with(&format!("\"arn:{own}:")), "{region}");
        }
    }
}
