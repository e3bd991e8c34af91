//! Charts and the page: nothing is cut off or printed over something else, no spike is lost, no name escapes, nothing
//! is fetched. Measures text with the renderer itself rather than with the drawing code.

use std::sync::Arc;

use highwater::event::Minute;
use highwater::insight::trail::TrailRecord;
use highwater::report::{
    Band, Curve, Figure, Form, Incident, Page, ReportError, Unit, columns, curves_svg, figure_svg, page_html, png,
};
use highwater::store::{Account, Gap, Objects, RecordCounts, SummaryFile, Timings};
use proptest::prelude::*;
use resvg::tiny_skia::Pixmap;
use resvg::usvg::{self, fontdb};

const FORMS: [Form; 3] = [Form::Picture, Form::Page, Form::Phone];
/// 2026-03-04T14:07Z
const START: Minute = Minute(29_543_887);
const DAY: i64 = 1_440;

/// A week of a quiet hum with a burst at its end.
fn figure() -> Figure {
    let from = Minute(START.0 - 7 * DAY);
    let to = Minute(START.0 + 120);
    let count = |minute: i64| if (START.0..START.0 + 12).contains(&minute) { 160 } else { (minute % 7) as u64 };
    let band = (from.0..to.0).step_by(60).map(|minute| Band {
        minute: Minute(minute),
        expected: 3.0,
        lower: 0.0,
        upper: 8.0 + (minute / 60 % 24) as f64 / 6.0,
    });
    Figure {
        title: "RunInstances 14x above normal in us-east-1".to_owned(),
        subtitle: "Account 123456789012 · role BuildRole: 96% of the extra calls".to_owned(),
        unit: Unit::Calls,
        from,
        to,
        counts: (from.0..to.0).map(|minute| (Minute(minute), count(minute))).collect(),
        all_calls: None,
        band: band.collect(),
        baseline_average: 3.01,
        burst: (START, Some(Minute(START.0 + 12))),
        callers: vec![
            ("arn:aws:sts::123456789012:assumed-role/BuildRole".to_owned(), 0.96),
            ("arn:aws:iam::123456789012:user/alice".to_owned(), 0.04),
        ],
    }
}

/// What a trail may bring.
fn odd_figures() -> Vec<(&'static str, Figure)> {
    let base = figure();
    let silent = |burst: i64| Figure {
        counts: (START.0..START.0 + burst).map(|minute| (Minute(minute), 1 + minute as u64 % 9)).collect(),
        band: vec![
            Band { minute: base.from, expected: 0.0, lower: 0.0, upper: 0.0 },
            Band { minute: base.to, expected: 0.0, lower: 0.0, upper: 0.0 },
        ],
        baseline_average: 0.0,
        burst: (START, Some(Minute(START.0 + burst))),
        ..base.clone()
    };
    let ramp = |minute: i64| (Minute(minute), (minute - START.0 + 300).clamp(0, 300) as u64);
    let errors = |scale: u64| Figure {
        unit: Unit::Errors,
        all_calls: Some(base.counts.iter().map(|(minute, count)| (*minute, count * scale + 40)).collect()),
        ..base.clone()
    };
    let long = "AVeryLongNameThatGoesOnAndOnWithoutAnySpaceInIt".repeat(12);
    vec![
        ("usual", base.clone()),
        ("five minutes on a silent API", silent(5)),
        ("one minute", silent(1)),
        ("nothing at all", Figure { counts: vec![], band: vec![], callers: vec![], ..silent(5) }),
        (
            "five-hour ramp",
            Figure {
                counts: (START.0 - 300..START.0).map(ramp).collect(),
                burst: (Minute(START.0 - 300), Some(START)),
                ..base.clone()
            },
        ),
        ("one to a million", Figure { counts: vec![(START, 1_000_000), (Minute(START.0 - 9), 1)], ..base.clone() }),
        ("more than fits a word", Figure { counts: vec![(START, u64::MAX)], ..base.clone() }),
        ("burst at the very start", Figure { from: START, ..base.clone() }),
        ("burst at the very end", Figure { to: Minute(START.0 + 12), ..base.clone() }),
        ("one minute of data", Figure { from: START, to: Minute(START.0 + 1), ..base.clone() }),
        ("burst before the data", Figure { burst: (Minute(0), Some(Minute(5))), ..base.clone() }),
        ("end before start", Figure { burst: (START, Some(Minute(START.0 - 5))), ..base.clone() }),
        ("still open", Figure { burst: (Minute(START.0 - 3 * DAY), None), ..base.clone() }),
        (
            "over midnight",
            Figure { burst: (Minute(START.0 - 17 * 60), Some(Minute(START.0 - 11 * 60))), ..base.clone() },
        ),
        ("errors", errors(2)),
        ("errors among very many calls", errors(5_000)),
        ("ten years", Figure { from: Minute(START.0 - 3_600 * DAY), ..base.clone() }),
        (
            "unicode and hostile names",
            Figure {
                title: "Ünïcödé データ <script>alert(1)</script> \u{202e}\u{0} ".repeat(6),
                subtitle: "\"'&<>]]>".repeat(40),
                callers: vec![("<b>\u{7}".to_owned(), f64::NAN), (String::new(), 7.0), ("ロール".to_owned(), -1.0)],
                ..base.clone()
            },
        ),
        (
            "long names",
            Figure { title: long.clone(), subtitle: long.clone(), callers: vec![(long, 0.5)], ..base.clone() },
        ),
        (
            "numbers that are none",
            Figure {
                baseline_average: f64::NAN,
                band: vec![Band { minute: START, expected: f64::NAN, lower: 0.0, upper: f64::INFINITY }],
                ..base.clone()
            },
        ),
        (
            "a band far above",
            Figure { band: vec![Band { minute: START, expected: 5e5, lower: 0.0, upper: 1e6 }], ..base },
        ),
    ]
}

/// The words of a picture with the boxes they cover, in its own units, and its size.
fn words(svg: &str) -> (Vec<(String, usvg::Rect)>, (f32, f32)) {
    let mut fonts = fontdb::Database::new();
    fonts.load_font_data(notosans::REGULAR_TTF.to_vec());
    fonts.load_font_data(notosans::BOLD_TTF.to_vec());
    let options = usvg::Options { fontdb: Arc::new(fonts), font_family: "Noto Sans".to_owned(), ..Default::default() };
    let mut plain = svg.replace("var(--", "url(#").replace("<svg ", "<svg xmlns=\"http://www.w3.org/2000/svg\" ");
    if svg.contains("xmlns=") {
        plain = svg.to_owned();
    }
    // Colours of a page are variables, which only a browser knows.
    while let Some((start, rest)) = plain.split_once("url(#") {
        let (_, end) = rest.split_once(')').expect("a closed variable");
        plain = format!("{start}#123456{end}");
    }
    let tree = usvg::Tree::from_str(&plain, &options).expect("an SVG");
    fn collect(group: &usvg::Group, found: &mut Vec<(String, usvg::Rect)>) {
        for node in group.children() {
            match node {
                usvg::Node::Group(group) => collect(group, found),
                usvg::Node::Text(text) => {
                    let words = text.chunks().iter().map(|chunk| chunk.text()).collect();
                    found.push((words, text.abs_bounding_box()));
                }
                _ => {}
            }
        }
    }
    let mut found = Vec::new();
    collect(tree.root(), &mut found);
    (found, (tree.size().width(), tree.size().height()))
}

fn assert_readable(case: &str, form: Form, svg: &str) {
    let (words, (width, height)) = words(svg);
    assert!(words.len() > 4, "{case}, {form:?}: hardly any words");
    for (index, (text, place)) in words.iter().enumerate() {
        let inside = place.left() >= 0.0 && place.top() >= 0.0 && place.right() <= width && place.bottom() <= height;
        assert!(inside, "{case}, {form:?}: {text:?} at {place:?} leaves {width} x {height}");
        for (other, covered) in &words[..index] {
            let apart = place.left() >= covered.right()
                || covered.left() >= place.right()
                || place.top() >= covered.bottom() - 2.0
                || covered.top() >= place.bottom() - 2.0;
            assert!(apart, "{case}, {form:?}: {text:?} at {place:?} lies on {other:?} at {covered:?}");
        }
    }
}

#[test]
fn every_odd_figure_is_drawn_readably_in_every_form() {
    for (case, figure) in odd_figures() {
        for form in FORMS {
            let svg = figure_svg(&figure, form).unwrap_or_else(|error| panic!("{case}, {form:?}: {error}"));
            assert_readable(case, form, &svg);
        }
    }
}

#[test]
fn a_picture_has_its_size_and_shows_the_burst() {
    for (case, figure) in odd_figures() {
        let svg = figure_svg(&figure, Form::Picture).expect(case);
        let picture = Pixmap::decode_png(&png(&svg).expect(case)).expect("a PNG");
        assert_eq!((picture.width(), picture.height()), (1_200, 600), "{case}");
        let burst = picture.pixels().iter().filter(|p| (p.red(), p.green(), p.blue()) == (0xBF, 0x44, 0x08)).count();
        let paper = picture.pixels().iter().filter(|p| (p.red(), p.green(), p.blue()) == (255, 255, 255)).count();
        assert!(burst > 50 && paper > 100_000, "{case}: {burst} pixels of burst, {paper} of paper");
    }
}

#[test]
fn only_the_bundled_font_is_named() {
    let svg = figure_svg(&figure(), Form::Picture).expect("a figure");
    let families: Vec<&str> = svg.split("font-family=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    assert!(families.len() > 10 && families.iter().all(|family| *family == "Noto Sans"), "{families:?}");
    assert!(!figure_svg(&figure(), Form::Page).expect("a figure").contains("font-family"));
}

#[test]
fn a_figure_without_minutes_is_an_error() {
    for (from, to) in [(START, START), (START, Minute(0)), (Minute(i64::MIN), Minute(i64::MAX))] {
        let error = figure_svg(&Figure { from, to, ..figure() }, Form::Picture);
        assert!(matches!(error, Err(ReportError::Span { .. })));
    }
}

#[test]
fn the_same_input_gives_the_same_bytes() {
    let svg = || figure_svg(&figure(), Form::Picture).expect("a figure");
    assert_eq!(svg(), svg());
    assert_eq!(png(&svg()).expect("a picture"), png(&svg()).expect("a picture"));
    let summary = summary();
    let page = || page_html(&Page { summary: &summary, incidents: incidents() }).expect("a page");
    assert_eq!(page(), page());
}

proptest! {
    #[test]
    fn downsampling_never_loses_a_spike(
        counts in proptest::collection::vec((-50i64..5_000, any::<u64>()), 0..200),
        from in -20i64..100, span in 1i64..5_000, columns_max in 1usize..400,
    ) {
        let (from, to) = (Minute(from), Minute(from + span));
        let counts: Vec<(Minute, u64)> = counts.into_iter().map(|(minute, count)| (Minute(minute), count)).collect();
        let columns = columns(&counts, from, to, columns_max);
        prop_assert_eq!(columns.len(), columns_max.min(span as usize));
        let highest = counts.iter().filter(|(minute, _)| (from..to).contains(minute)).map(|(_, count)| *count).max();
        prop_assert_eq!(columns.iter().copied().max(), Some(highest.unwrap_or(0)));
        for (minute, count) in counts.iter().filter(|(minute, _)| (from..to).contains(minute)) {
            let column = ((minute.0 - from.0) as usize * columns.len()) / span as usize;
            prop_assert!(columns[column] >= *count);
        }
    }

}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_figure_is_readable(
        counts in proptest::collection::vec((0i64..9_000, 0u32..40), 0..120),
        from in 0i64..4_000, span in 1i64..12_000, start in 0i64..9_000, length in proptest::option::of(1i64..4_000),
        baseline in 0.0f64..1e6, title in ".{0,80}", caller in ".{0,80}",
    ) {
        let at = |minute: i64| Minute(START.0 + minute);
        let figure = Figure {
            title,
            from: at(from),
            to: at(from + span),
            counts: counts.into_iter().map(|(minute, power)| (at(minute), 1 << power)).collect(),
            baseline_average: baseline,
            burst: (at(start), length.map(|length| at(start + length))),
            callers: vec![(caller, 0.5)],
            ..figure()
        };
        for form in FORMS {
            assert_readable("any", form, &figure_svg(&figure, form).expect("a figure"));
        }
    }
}

/// A record with `name` wherever a stranger can put a text.
fn record(state: &str, severity: &str, id: usize, name: &str) -> TrailRecord {
    let minute = if state == "Start" { START } else { Minute(START.0 + 12) };
    let value = serde_json::json!({
        "eventVersion": "1.09", "eventTime": minute.to_string(), "awsRegion": "us-east-1",
        "eventID": format!("{id}-{state}"), "eventType": "AwsCloudTrailInsight", "recipientAccountId": "123456789012",
        "sharedEventID": format!("5b9d7c1e-{id}"),
        "insightDetails": {
            "state": state, "eventSource": "ec2.amazonaws.com", "eventName": name,
            "insightType": "ApiErrorRateInsight", "errorCode": name, "sourceEventCategory": "Management",
            "insightContext": {
                "statistics": {
                    "baseline": {"average": 0.0212318111}, "insight": {"average": 160},
                    "insightDuration": 12, "baselineDuration": 10927
                },
                "attributions": [{
                    "attribute": "userAgent", "insight": [{"value": name, "average": 9.6}],
                    "baseline": [{"value": "console.amazonaws.com", "average": 0.0212318111}]
                }]
            }
        },
        "eventCategory": "Insight",
        "highwater": {
            "direction": "up", "score": 7.1, "threshold": 2.0, "severity": severity, "observed": 1920,
            "expected": {"average": 3, "lower": 0, "upper": 9}, "ratio": 7535.8, "lnOdds": -310.5,
            "detectedTime": "2026-03-04T14:10:00Z", "reason": format!("1,920 calls to {name}."),
            "excess": [{
                "attribute": "userIdentityArn",
                "values": [{"value": name, "average": 155, "baselineAverage": 0, "share": 0.96, "firstSeen": true}]
            }],
            "attributionExact": false, "model": "judge-1"
        }
    });
    serde_json::from_value(value).expect("a record")
}

fn incident(severity: &str, id: usize, name: &str) -> Incident {
    let (start, end) = (record("Start", severity, id, name), record("End", severity, id, name));
    Incident { start, end: Some(end), figure: figure() }
}

fn incidents() -> Vec<Incident> {
    let severities = ["low", "critical", "medium", "info", "high", "strange"];
    severities.iter().enumerate().map(|(id, severity)| incident(severity, id, "RunInstances")).collect()
}

fn summary() -> SummaryFile {
    let time = |text: &str| Some(text.to_owned());
    SummaryFile {
        version: "0.1.0".to_owned(),
        model: "judge-1".to_owned(),
        command: vec!["scan".to_owned(), "./AWSLogs".to_owned()],
        insights: 12,
        incidents: 6,
        records: RecordCounts {
            read: 1_000,
            scored: 940,
            duplicate: 20,
            filtered: 25,
            late: 10,
            malformed: 3,
            open: 2,
        },
        objects: Objects { read: 12, ..Objects::default() },
        series: 9,
        accounts: vec![Account {
            account: "123456789012".to_owned(),
            region: "us-east-1".to_owned(),
            objects: 12,
            events: 1_000,
            first_event: time("2026-02-25T00:00:10Z"),
            last_event: time("2026-03-04T16:00:00Z"),
            first_delivery: time("2026-02-25T00:05:00Z"),
            last_delivery: time("2026-03-04T16:05:00Z"),
            gap_count: 7,
            gaps: vec![Gap { from: "2026-02-27T00:00:00Z".to_owned(), to: "2026-02-27T05:00:00Z".to_owned() }],
        }],
        timings: Timings::default(),
    }
}

fn page(incidents: Vec<Incident>) -> String {
    page_html(&Page { summary: &summary(), incidents }).expect("a page")
}

/// Panics unless every element is closed where it must be. Looks into neither script nor style.
fn assert_balanced(html: &str) {
    const VOID: [&str; 4] = ["meta", "input", "br", "!doctype"];
    let mut open: Vec<&str> = Vec::new();
    let mut rest = html;
    while let Some((_, tag)) = rest.split_once('<') {
        let (tag, after) = tag.split_once('>').expect("a closed tag");
        rest = after;
        let name = tag.split([' ', '/', '\n']).find(|part| !part.is_empty()).expect("a tag's name");
        if tag.starts_with('/') {
            assert_eq!(open.pop(), Some(name), "before {:?}", rest.chars().take(80).collect::<String>());
        } else if name == "script" || name == "style" {
            let end = format!("</{name}>");
            rest = rest.split_once(&end).expect("an end of script or style").1;
        } else if !tag.ends_with('/') && !VOID.contains(&name) {
            open.push(name);
        }
    }
    assert_eq!(open, Vec::<&str>::new());
}

#[test]
fn a_page_is_whole_and_fetches_nothing() {
    for html in [page(incidents()), page(vec![])] {
        assert_balanced(&html);
        for word in ["http://", "https://", " src=", "url(", "@import", "<link", "fetch(", "XMLHttpRequest"] {
            assert!(!html.contains(word), "{word}");
        }
        let targets = html.split("href=\"").skip(1);
        for target in targets.map(|rest| rest.split('"').next().unwrap_or_default()) {
            let id = target.strip_prefix('#').unwrap_or_else(|| panic!("{target} leaves the page"));
            assert!(html.contains(&format!(" id=\"{id}\"")), "#{id} leads nowhere");
        }
    }
}

#[test]
fn a_section_says_why_and_names_stay_text() {
    let mut incident = incident("high", 1, "RunInstances");
    let hostile = "<script>alert(1)</script>";
    let extra = incident.end.as_mut().and_then(|end| end.highwater.as_mut()).expect("our object");
    extra.odds = "about once in 40 years for this API".to_owned();
    extra.window_minutes = Some(15);
    extra.closing = Some("new normal".to_owned());
    let more = serde_json::json!({
        "without": {"attribute": "sessionName", "value": hostile, "observed": 4, "average": 0.4},
        "new": [{"attribute": "sourceIPAddress", "value": hostile, "ever": true}],
        "recurrence": {"periodMinutes": 1440, "phaseMinutes": 360, "weekdays": false, "hits": 27, "chances": 28,
            "shiftMinutes": 0, "usual": 40, "observed": 240, "words": "usual job, daily at 06:00 UTC"}
    });
    extra.without = serde_json::from_value(more["without"].clone()).expect("a caller");
    extra.new = serde_json::from_value(more["new"].clone()).expect("a list");
    extra.recurrence = serde_json::from_value(more["recurrence"].clone()).expect("a job");
    let summary = summary();
    let html = page_html(&Page { summary: &summary, incidents: vec![incident] }).expect("a page");
    for words in [
        "about once in 40 years",
        "over 15 min",
        "usual job, daily at 06:00 UTC",
        "session &lt;script&gt;",
        "address &lt;script&gt;",
        "4 of 1,920 errors, inside the expected range",
        "since the trail begins",
        "the new normal",
    ] {
        assert!(html.contains(words), "{words}");
    }
    assert!(!html.contains(hostile));
}

#[test]
fn a_page_is_sorted_by_severity_and_says_what_a_reader_needs() {
    let html = page(incidents());
    let articles: Vec<&str> =
        html.split("<article class=\"insight s-").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    assert_eq!(articles, ["critical", "high", "medium", "low", "info", "unrated"]);
    let needed = [
        "1,920 errors",
        "0 to 9/min",
        "0.0212/min",
        "about 1.3 an hour, over 7 days 14 h",
        "1 in 10¹³⁴",
        "12 min",
        "first seen",
        "96%",
        "lower bounds",
        "7 gaps, the longest",
        "console.amazonaws.com",
        "<b>940</b> scored",
    ];
    for word in needed {
        assert!(html.contains(word), "{word}");
    }
    // The records keep their quotes: inside an element they need no escape.
    assert!(html.contains("\"sharedEventID\": \"5b9d7c1e-1\""));
}

#[test]
fn a_page_without_insights_says_what_was_looked_at() {
    let html = page(vec![]);
    assert!(html.contains("Calm water") && html.contains("940 records of 1 account in 1 Region"));
    let nothing = page_html(&Page {
        summary: &SummaryFile { records: RecordCounts::default(), accounts: vec![], ..summary() },
        incidents: vec![],
    });
    assert!(nothing.expect("a page").contains("No records were read"));
}

#[test]
fn hostile_names_stay_text() {
    let hostile = "x</script></style></title><script>alert(1)</script><img src=x onerror=alert(2)>\"' \
                   onclick='alert(3)' &lt;b&gt; --> ]]> \u{202e}evil\u{0}";
    let mut incident = incident("high", 1, hostile);
    incident.start.shared_event_id = hostile.to_owned();
    incident.start.recipient_account_id = hostile.to_owned();
    incident.start.aws_region = hostile.to_owned();
    incident.start.event_time = hostile.to_owned();
    incident.start.insight_details.event_source = hostile.to_owned();
    incident.figure.title = hostile.to_owned();
    incident.figure.subtitle = hostile.to_owned();
    let mut summary = summary();
    summary.command.push(hostile.to_owned());
    summary.version = hostile.to_owned();
    summary.accounts[0].account = hostile.to_owned();
    summary.accounts[0].first_delivery = Some(hostile.to_owned());
    summary.accounts[0].gaps[0].from = hostile.to_owned();
    let html = page_html(&Page { summary: &summary, incidents: vec![incident] }).expect("a page");
    assert_balanced(&html);
    assert_eq!(html.matches("<script").count(), 1);
    assert_eq!(html.matches("</style").count(), 1);
    assert!(!html.contains("<img") && !html.contains('\u{202e}') && !html.contains('\0'));
    // Within a tag no attribute ends early: a quote of a stranger would open one called onclick.
    let mut rest = html.as_str();
    while let Some((_, tag)) = rest.split_once('<') {
        let (tag, after) = tag.split_once('>').expect("a closed tag");
        let outside: String = tag.split('"').step_by(2).collect();
        assert!(!outside.contains("alert") && !outside.contains("onclick"), "<{tag}>");
        rest = after;
        if tag == "script" {
            break;
        }
    }
    // The record is still the same JSON.
    let json = html.split("<code>{").nth(1).and_then(|rest| rest.split("</code>").next()).expect("a record");
    let json =
        format!("{{{json}").replace("&lt;", "<").replace("&gt;", ">").replace("&#39;", "'").replace("&amp;", "&");
    let record: TrailRecord = serde_json::from_str(&json).expect("JSON");
    assert_eq!(record.aws_region, hostile);
}

#[test]
fn a_page_of_very_many_insights_stays_small_and_says_so() {
    let many: Vec<Incident> = (0..400).map(|id| incident("low", id, "RunInstances")).collect();
    let html = page(many);
    assert_balanced(&html);
    assert!(html.len() < 20 << 20, "{} bytes", html.len());
    assert!(html.contains("of the less severe insights are shown without their picture"));
    assert_eq!(html.matches("<article").count(), 400);
}

#[test]
fn curves_are_readable_whatever_detectors_are_called() {
    let curve =
        |name: &str, points: &[(f64, f64)], default| Curve { name: name.to_owned(), points: points.to_vec(), default };
    let cases = [
        vec![],
        vec![curve("Highwater", &[(0.9, 0.8)], Some(0))],
        vec![
            curve("Highwater", &[(0.5, 1.0), (0.9, 0.8), (1.0, 0.3)], Some(1)),
            curve(&"a name that nobody would give to anything ".repeat(4), &[(0.0, 0.0), (1.0, 1.0)], Some(7)),
            curve("<b>&\"\u{202e}", &[(f64::NAN, 2.0), (-1.0, 0.5)], None),
            curve("", &[], Some(0)),
            curve("five", &[(0.9, 0.8), (0.9, 0.8)], Some(1)),
            curve("one too many", &[(0.1, 0.1)], None),
        ],
    ];
    for curves in cases {
        let title = "What is found ".repeat(1 + 9 * (curves.len() / 4));
        let svg = curves_svg(&title, &title, &curves).expect("curves");
        assert_readable(&title, Form::Picture, &svg);
        let picture = Pixmap::decode_png(&png(&svg).expect("a picture")).expect("a PNG");
        assert_eq!((picture.width(), picture.height()), (900, 744));
    }
}
