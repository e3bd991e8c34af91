//! Tables of readings as Parquet, in and out. Knows the columns; not what a score means.

use std::fs::{self, File};
use std::path::Path;

use polars::prelude::{
    Column, DataFrame, DataType, IntoColumn, NamedFrom, ParquetCompression, ParquetReader, ParquetWriter, SerReader,
    Series, TimeUnit,
};

use super::StoreError;
use crate::score::{Columns, Scored, Table, TableBuilder, Time, check_value};

/// Reads a table. The time may be a datetime, text, or seconds or milliseconds since 1970; keys become text.
pub fn read(path: &Path) -> Result<Table, StoreError> {
    let name = path.display().to_string();
    let damaged = |reason: String| StoreError::Damaged { path: name.clone(), reason };
    let parquet = |source| StoreError::Parquet { path: name.clone(), source };
    let file = File::open(path).map_err(|source| StoreError::Io { path: name.clone(), source })?;
    let frame = ParquetReader::new(file).finish().map_err(parquet)?;
    let columns: Vec<&Column> = frame.columns().iter().collect();
    let names: Vec<&str> = columns.iter().map(|column| column.name().as_str()).collect();
    let chosen = Columns::choose(&names).map_err(damaged)?;
    let times = times(columns[chosen.time]).map_err(damaged)?;
    let value = columns[chosen.value];
    if !value.dtype().is_primitive_numeric() {
        return Err(damaged(format!("column {} holds {}, not numbers", value.name(), value.dtype())));
    }
    let values = value.cast(&DataType::Float64).map_err(parquet)?;
    let values = values.f64().map_err(parquet)?;
    let keys: Vec<Column> = chosen
        .keys
        .iter()
        .map(|&column| columns[column].cast(&DataType::String))
        .collect::<Result<_, _>>()
        .map_err(parquet)?;
    let keys: Vec<_> = keys.iter().map(|key| key.str()).collect::<Result<_, _>>().map_err(parquet)?;
    let mut builder = TableBuilder::new(chosen.keys.iter().map(|&column| names[column].to_owned()).collect());
    for (row, time) in times.into_iter().enumerate() {
        let at =
            |column: usize, reason: String| damaged(format!("row {}, column {}: {reason}", row + 1, names[column]));
        let time = time.map_err(|reason| at(chosen.time, reason))?;
        let value = check_value(values.get(row).unwrap_or(f64::NAN)).map_err(|reason| at(chosen.value, reason))?;
        builder.push(keys.iter().map(|key| key.get(row).unwrap_or_default()), time, value);
    }
    Ok(builder.finish())
}

/// One time for each row, or what is wrong with it.
fn times(column: &Column) -> Result<Vec<Result<Time, String>>, String> {
    let empty = || "no time in this row".to_owned();
    let per_second = match column.dtype() {
        DataType::Datetime(TimeUnit::Nanoseconds, _) => 1_000_000_000,
        DataType::Datetime(TimeUnit::Microseconds, _) => 1_000_000,
        DataType::Datetime(TimeUnit::Milliseconds, _) => 1_000,
        DataType::String => {
            let texts = column.str().map_err(|error| error.to_string())?;
            return Ok(texts.iter().map(|text| text.ok_or_else(empty).and_then(Time::parse)).collect());
        }
        dtype if dtype.is_integer() => 0,
        dtype => return Err(format!("column {} holds {dtype}, which is no time", column.name())),
    };
    let numbers = column.cast(&DataType::Int64).map_err(|error| error.to_string())?;
    let numbers = numbers.i64().map_err(|error| error.to_string())?;
    let time = |number: i64| match per_second {
        0 => Time::of_number(number),
        _ => Time::of_second(number.div_euclid(per_second)),
    };
    let read = |number: Option<i64>| {
        let number = number.ok_or_else(empty)?;
        time(number).ok_or_else(|| format!("{number} is no time between 1900 and 2200"))
    };
    Ok(numbers.iter().map(read).collect())
}

/// Writes the rows of a table with their verdicts, in its order.
pub fn write(path: &Path, table: &Table, scored: &Scored) -> Result<(), StoreError> {
    let name = || path.display().to_string();
    let io = |source| StoreError::Io { path: name(), source };
    let parquet = |source| StoreError::Parquet { path: name(), source };
    let mut columns: Vec<Column> = Vec::new();
    for (place, key) in table.key_names.iter().enumerate() {
        let texts: Vec<&str> =
            table.rows.iter().map(|reading| table.series[reading.series as usize][place].as_str()).collect();
        columns.push(Series::new(key.as_str().into(), texts).into_column());
    }
    let times: Vec<i64> = table.rows.iter().map(|reading| reading.time_s * 1_000).collect();
    let times = Series::new("timestamp".into(), times)
        .cast(&DataType::Datetime(TimeUnit::Milliseconds, None))
        .map_err(parquet)?;
    columns.push(times.into_column());
    let values: Vec<Option<f64>> =
        table.rows.iter().map(|reading| Some(reading.value).filter(|value| value.is_finite())).collect();
    columns.push(Series::new("value".into(), values).into_column());
    let mut number = |name: &str, of: &dyn Fn(usize) -> Option<f64>| {
        let numbers: Vec<Option<f64>> = (0..table.rows.len()).map(of).collect();
        columns.push(Series::new(name.into(), numbers).into_column());
    };
    let verdicts = &scored.verdicts;
    number("expected", &|row| verdicts[row].expected);
    number("lower", &|row| verdicts[row].band.map(|(lower, _)| lower));
    number("upper", &|row| verdicts[row].band.map(|(_, upper)| upper));
    number("score", &|row| Some(verdicts[row].score));
    let flags: Vec<bool> = verdicts.iter().map(|verdict| verdict.flag).collect();
    columns.push(Series::new("flag".into(), flags).into_column());
    let mut frame = DataFrame::new(table.rows.len(), columns).map_err(parquet)?;
    // Under another name until complete, so that a reader never meets half a file.
    let partial = path.with_extension("parquet.partial");
    let file = File::create(&partial).map_err(io)?;
    ParquetWriter::new(file).with_compression(ParquetCompression::Zstd(None)).finish(&mut frame).map_err(parquet)?;
    fs::rename(&partial, path).map_err(io)
}
