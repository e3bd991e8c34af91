//! What reading costs: decompression alone, then with the scanner, then with every byte validated. Throughput counts
//! decompressed bytes. The corpus is generated here; compare the groups within one run, not across machines.

use std::fmt::Write as _;
use std::hint::black_box;
use std::io::Write as _;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use flate2::Compression;
use flate2::write::GzEncoder;
use highwater::event::{Engine, Limits, ObjectName, Reader};

/// Of about 1.3 kB each, as records are on average.
const RECORDS: usize = 4_000;
const NAME: &str = "111122223333_CloudTrail_eu-west-1_20260304T1405Z_AbCdEfGhIjKlMnOp.json.gz";

/// Records of three shapes in an irregular order, with identifiers that do not compress.
fn corpus() -> String {
    let mut seed = 7_u64;
    let mut next = move || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        seed >> 20
    };
    let mut text = String::from("{\"Records\":[");
    for i in 0..RECORDS {
        text.push_str(if i == 0 { "" } else { "," });
        let id = |a: u64, b: u64| {
            format!("{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}", a >> 8, a & 0xffff, b & 0xfff, b >> 32, b)
        };
        let (request, event, pick) = (id(next(), next()), id(next(), next()), next() % 8);
        let session = next() % 500;
        let identity = if pick == 0 {
            r#"{"type":"AWSService","invokedBy":"autoscaling.amazonaws.com"}"#.to_owned()
        } else {
            format!(
                r#"{{"type":"AssumedRole","principalId":"AROAEXAMPLEROLE00001:session-{session}","arn":"arn:aws:sts::111122223333:assumed-role/Builder/session-{session}","accountId":"111122223333","accessKeyId":"ASIAEXAMPLE{session:09}","sessionContext":{{"sessionIssuer":{{"type":"Role","principalId":"AROAEXAMPLEROLE00001","arn":"arn:aws:iam::111122223333:role/Builder","accountId":"111122223333","userName":"Builder"}},"attributes":{{"creationDate":"2026-03-04T13:59:00Z","mfaAuthenticated":"false"}}}}}}"#
            )
        };
        let (name, read_only) = [("DescribeInstances", true), ("RunInstances", false), ("PutMetricData", false)]
            [next() as usize % 3];
        let error = match pick {
            1 => r#""errorCode":"Client.UnauthorizedOperation","errorMessage":"You are not authorized to perform this operation.","#,
            _ => "",
        };
        let _ = write!(
            text,
            r#"{{"eventVersion":"1.11","userIdentity":{identity},"eventTime":"2026-03-04T14:{:02}:{:02}Z","eventSource":"ec2.amazonaws.com","eventName":"{name}","awsRegion":"eu-west-1","sourceIPAddress":"198.51.100.{}","userAgent":"made-up-sdk/1.0 (linux; x86_64) lang/rust#1.95",{error}"requestParameters":{{"instancesSet":{{"items":[{{"instanceId":"i-{:017x}"}},{{"instanceId":"i-{:017x}"}}]}},"filterSet":{{}},"note":"a \"quoted\" word"}},"responseElements":null,"requestID":"{request}","eventID":"{event}","readOnly":{read_only},"eventType":"AwsApiCall","managementEvent":true,"recipientAccountId":"111122223333","eventCategory":"Management","tlsDetails":{{"tlsVersion":"TLSv1.3","cipherSuite":"TLS_AES_128_GCM_SHA256","clientProvidedHostHeader":"ec2.eu-west-1.amazonaws.com"}}}}"#,
            next() % 60,
            next() % 60,
            next() % 256,
            next(),
            next(),
        );
    }
    text.push_str("]}");
    text
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
