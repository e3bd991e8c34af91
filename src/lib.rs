//! Highwater reads CloudTrail records, learns how often each API of an account is called and how often it fails, and
//! says when that departs from normal, as CloudTrail Insights records with who caused it.
//!
//! ```
//! use highwater::detector::{Detector, Options};
//! use highwater::event::{Limits, Minute, ObjectName, Reader};
//! use highwater::judge::{DEFAULT_JSON, Model};
//! use highwater::window::Tally;
//!
//! let model = Model::from_json(DEFAULT_JSON)?;
//! let mut detector = Detector::new(Options::default(), model);
//! // Count any number of objects, in any order, in any number of tallies ...
//! let object = br#"{"Records":[{"eventVersion":"1.11","eventTime":"2026-03-04T14:07:09Z","eventType":"AwsApiCall",
//!     "eventSource":"ec2.amazonaws.com","eventName":"RunInstances","awsRegion":"us-east-1",
//!     "recipientAccountId":"123456789012"}]}"#;
//! let mut tally = Tally::default();
//! let name = ObjectName::parse("trail.json");
//! let outcome = Reader::new().read(&name, object, &Limits::default(), &mut |event| tally.add(event));
//! assert_eq!((outcome.records, outcome.malformed), (1, 0));
//! detector.merge(tally);
//! // ... then say how far time is complete.
//! let advance = detector.advance(Minute(i64::MAX), 1);
//! assert_eq!(advance.events, 1);
//! assert!(advance.insights.is_empty());
//! # Ok::<(), highwater::judge::ModelError>(())
//! ```

#![deny(unsafe_code)]

pub mod baseline;
pub mod cli;
pub mod config;
pub mod detector;
pub mod episode;
pub mod event;
pub mod http;
pub mod insight;
pub mod judge;
pub mod mirror;
pub mod report;
pub mod run;
pub mod score;
pub mod secret;
pub mod sidecar;
pub mod sink;
pub mod source;
pub mod status;
pub mod store;
pub mod train;
pub mod watch;
pub mod window;
