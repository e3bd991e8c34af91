//! Tables of series: any bytes are read or refused with the file's name, and what is read is scored row for row.

#![no_main]

use highwater::score::{Format, Missing, Options, THRESHOLD, read_csv, score, write_incidents, write_rows};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let table = match read_csv("table.csv", bytes) {
        Ok(table) => table,
        Err(error) => return assert!(error.to_string().starts_with("table.csv")),
    };
    for missing in [Missing::Unknown, Missing::Zero] {
        // Zeros between two far rows are many: correct, and slow.
        let far = table.rows.iter().any(|row| row.time_s.abs_diff(table.rows[0].time_s) > 86_400 * 30);
        if missing == Missing::Zero && far {
            continue;
        }
        let Ok(scored) = score(&table, &Options { threshold: THRESHOLD, missing, threads: 1 }) else { continue };
        assert_eq!(scored.verdicts.len(), table.rows.len());
        assert!(scored.verdicts.iter().all(|verdict| verdict.score >= 0.0 && verdict.score.is_finite()));
        let mut out = Vec::new();
        write_rows(&table, &scored, Format::Csv, &mut out).expect("rows");
        write_incidents(&table, &scored.incidents, Format::Json, &mut out).expect("incidents");
    }
});
