//! What reading costs: decompression alone, then with the scanner, then with every byte validated. Throughput counts
//! decompressed bytes. The corpus is generated here; compare the groups within one run, not across machines.

use std::hint::black_box;
use std::io::Write as _;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use flate2::Compression;
use flate2::write::GzEncoder;
use highwater::event::{Engine, Limits, ObjectName, Reader};

/// Of about 1.3 kB each, as records are on average.
const RECORDS: usize = 4_000;
const NAME: &str = "111122223333_CloudTrail_eu-west-1_20260304T1405Z_AbCdEfGhIjKlMnOp.json.gz";

const RECORD: &str = concat!(
    r#"{"eventVersion":"1.11","userIdentity":IDENTITY,"eventTime":"2026-03-04T14:MINUTE:SECONDZ","#,
    r#""eventSource":"ec2.amazonaws.com","eventName":"NAME","awsRegion":"eu-west-1","#,
    r#""sourceIPAddress":"198.51.100.HOST","userAgent":"made-up-sdk/1.0 (linux; x86_64) lang/rust#1.95","#,
    r#"ERROR"requestParameters":{"instancesSet":{"items":["#,
    r#"{"instanceId":"i-ITEM"},{"instanceId":"i-0123456789abcdef0"}]},"filterSet":{},"note":"a \"quoted\" word"},"#,
    r#""responseElements":null,"requestID":"REQUEST","eventID":"EVENT","readOnly":false,"eventType":"AwsApiCall","#,
    r#""managementEvent":true,"recipientAccountId":"111122223333","eventCategory":"Management","tlsDetails":"#,
    r#"{"tlsVersion":"TLSv1.3","cipherSuite":"TLS_AES_128_GCM_SHA256","clientProvidedHostHeader":"ec2.example.com"}}"#,
);
const ROLE: &str = concat!(
    r#"{"type":"AssumedRole","principalId":"AROAEXAMPLEROLE00001:session-SESSION","#,
    r#""arn":"arn:aws:sts::111122223333:assumed-role/Builder/session-SESSION","accountId":"111122223333","#,
    r#""accessKeyId":"ASIAEXAMPLEKEY000001","sessionContext":{"sessionIssuer":{"type":"Role","#,
    r#""principalId":"AROAEXAMPLEROLE00001","arn":"arn:aws:iam::111122223333:role/Builder","#,
    r#""accountId":"111122223333","userName":"Builder"},"attributes":{"creationDate":"2026-03-04T13:59:00Z","#,
    r#""mfaAuthenticated":"false"}}}"#,
);
const SERVICE: &str = r#"{"type":"AWSService","invokedBy":"autoscaling.amazonaws.com"}"#;
const ERROR: &str = r#""errorCode":"Client.UnauthorizedOperation","errorMessage":"You are not authorized.","#;

/// Records of a few shapes in an irregular order, with identifiers that do not compress.
fn corpus() -> String {
    let mut seed = 7_u64;
    let mut next = move || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        seed >> 16
    };
    let mut id = || {
        let (a, b) = (next(), next());
        (
            a,
            format!(
                "{:08x}-{:04x}-4{:03x}-8{:03x}-{b:012x}",
                a >> 8 & 0xffff_ffff,
                a & 0xffff,
                b & 0xfff,
                b >> 20 & 0xfff
            ),
        )
    };
    let records: Vec<String> = (0..RECORDS)
        .map(|_| {
            let ((dice, request), (item, event)) = (id(), id());
            let names = ["DescribeInstances", "RunInstances", "PutMetricData"];
            RECORD
                .replace("IDENTITY", if dice % 8 == 0 { SERVICE } else { ROLE })
                .replace("SESSION", &(dice % 500).to_string())
                .replace("MINUTE", &format!("{:02}", dice % 60))
                .replace("SECOND", &format!("{:02}", item % 60))
                .replace("NAME", names[item as usize % 3])
                .replace("HOST", &(dice % 256).to_string())
                .replace("ERROR", if item % 7 == 0 { ERROR } else { "" })
                .replace("ITEM", &format!("{item:017x}"))
                .replace("REQUEST", &request)
                .replace("EVENT", &event)
        })
        .collect();
    format!("{{\"Records\":[{}]}}", records.join(","))
}

fn reading(criterion: &mut Criterion) {
    let text = corpus();
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text.as_bytes()).expect("writing to memory");
    let packed = encoder.finish().expect("writing to memory");
    let (name, limits) = (ObjectName::parse(NAME), Limits::default());

    let mut group = criterion.benchmark_group("reader");
    group.throughput(Throughput::Bytes(text.len() as u64));
    group.bench_function("decompress", |bencher| {
        let mut decompressor = libdeflater::Decompressor::new();
        let mut buffer = vec![0; text.len()];
        bencher.iter(|| decompressor.gzip_decompress(&packed, &mut buffer).expect("whole"));
    });
    let inputs = [("decompress+scan", Engine::Best, packed.as_slice()), ("scan", Engine::Best, text.as_bytes())];
    let others = [("portable", Engine::Portable, text.as_bytes()), ("validate", Engine::Validating, text.as_bytes())];
    for (what, engine, bytes) in inputs.into_iter().chain(others) {
        let mut reader = Reader::with_engine(engine);
        group.bench_function(BenchmarkId::from_parameter(what), |bencher| {
            bencher.iter(|| {
                let outcome = reader.read(&name, bytes, &limits, &mut |event| {
                    black_box(event);
                });
                assert_eq!((outcome.records, outcome.malformed), (RECORDS as u64, 0));
            });
        });
    }
    group.finish();
}

criterion_group!(benches, reading);
criterion_main!(benches);
