//! `TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '10' MINUTES))` and its kin, over a bounded table.
//!
//! Each row comes out once for every window that it falls into, with `window_start` (inclusive), `window_end`
//! (exclusive) and `window_time` (the last millisecond) after its own columns. Windows are aligned to 1970-01-01
//! 00:00:00, moved by the offset.
//!
//! 1. `TUMBLE`: the start is the event time rounded down to the size.
//! 2. `HOP`: the last start is the event time rounded down to the slide; the others are one slide earlier each.
//! 3. `CUMULATE`: the start is as in `TUMBLE`; there is an end at every step up to the size, and those at or before the
//!    event time are left out.

use super::unnest::element_column;
use arrow::datatypes::{DataType, IntervalMonthDayNano};
use datafusion::common::{Result, ScalarValue, not_impl_err, plan_err};
use datafusion::functions::datetime::expr_fn::date_bin;
use datafusion::functions_nested::expr_fn::make_array;
use datafusion::logical_expr::planner::RelationPlannerContext;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, lit};
use datafusion::sql::sqlparser::ast::{self, FunctionArg, FunctionArgExpr, FunctionArguments, TableFactor};

/// How many windows a row may fall into; each is a copy of the row.
const WINDOWS_PER_ROW_MAX: i64 = 1_000;

const NANOS_PER_MILLI: i64 = 1_000_000;
const NANOS_PER_DAY: i64 = 86_400_000_000_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Tumble,
    Hop,
    Cumulate,
    Session,
}

impl Kind {
    pub(super) fn of(function: &ast::Function) -> Option<Self> {
        match function.name.to_string().to_ascii_uppercase().as_str() {
            "TUMBLE" => Some(Kind::Tumble),
            "HOP" => Some(Kind::Hop),
            "CUMULATE" => Some(Kind::Cumulate),
            "SESSION" => Some(Kind::Session),
            _ => None,
        }
    }

    fn parameters(self) -> &'static [&'static str] {
        match self {
            Kind::Tumble => &["DATA", "TIMECOL", "SIZE", "OFFSET"],
            Kind::Hop => &["DATA", "TIMECOL", "SLIDE", "SIZE", "OFFSET"],
            Kind::Cumulate => &["DATA", "TIMECOL", "STEP", "SIZE", "OFFSET"],
            Kind::Session => &["DATA", "TIMECOL", "GAP"],
        }
    }
}

pub(super) fn plan(function: &ast::Function, context: &mut dyn RelationPlannerContext) -> Result<LogicalPlan> {
    let Some(kind) = Kind::of(function) else {
        return plan_err!("'{}' is not a window function", function.name);
    };
    if kind == Kind::Session {
        return not_impl_err!("SESSION windows are not supported yet");
    }
    let mut arguments = Arguments::new(kind, function)?;
    let input = match arguments.take("DATA")? {
        ast::Expr::Subquery(subquery) => {
            context.plan(TableFactor::Derived { lateral: false, subquery, alias: None, sample: None })?
        }
        other => return plan_err!("the first argument is TABLE name or a query, not '{other}'"),
    };
    let time = time_column(arguments.take("TIMECOL")?, &input, context)?;
    let size = arguments.nanos("SIZE", &input, context)?;
    let step = match kind {
        Kind::Hop => arguments.nanos("SLIDE", &input, context)?,
        Kind::Cumulate => arguments.nanos("STEP", &input, context)?,
        Kind::Tumble | Kind::Session => size,
    };
    let offset = match arguments.has("OFFSET") {
        true => arguments.nanos("OFFSET", &input, context)?,
        false => 0,
    };
    check_sizes(kind, size, step)?;
    Windows { kind, input, time, size, step, offset }.plan()
}

fn check_sizes(kind: Kind, size: i64, step: i64) -> Result<()> {
    if size <= 0 || step <= 0 {
        return plan_err!("the intervals of a window have to be longer than nothing");
    }
    if size % step != 0 {
        let part = kind.parameters()[2].to_ascii_lowercase();
        return plan_err!("the size of the windows has to be a multiple of the {part}");
    }
    match size / step {
        0..=WINDOWS_PER_ROW_MAX => Ok(()),
        windows => plan_err!("a row would fall into {windows} windows; at most {WINDOWS_PER_ROW_MAX} are possible"),
    }
}

struct Windows {
    kind: Kind,
    input: LogicalPlan,
    time: Expr,
    /// All in nanoseconds.
    size: i64,
    step: i64,
    offset: i64,
}

impl Windows {
    fn plan(self) -> Result<LogicalPlan> {
        let own: Vec<Expr> = self.input.schema().columns().into_iter().map(Expr::Column).collect();
        let zone = match self.time.get_type(self.input.schema())? {
            DataType::Timestamp(_, zone) => zone,
            other => return plan_err!("the time column is {other}, but has to be a TIMESTAMP"),
        };
        let origin = lit(ScalarValue::TimestampNanosecond(Some(self.offset), zone));
        let rounded = |nanos| date_bin(interval(nanos), self.time.clone(), origin.clone());
        let (element, unnesting) = element_column("window");
        let array_column = unnesting.recursions[0].input_column.clone();
        let unnested = Expr::Column(element);
        let count = self.size / self.step;
        let (array, start, end) = match self.kind {
            Kind::Hop => {
                let last = rounded(self.step);
                let starts = (0..count).map(|index| last.clone() - interval(index * self.step));
                (starts.collect(), unnested.clone(), unnested + interval(self.size))
            }
            Kind::Cumulate => {
                let start = rounded(self.size);
                let ends = (1..=count).map(|index| start.clone() + interval(index * self.step));
                (ends.collect(), start.clone(), unnested)
            }
            Kind::Tumble | Kind::Session => {
                (vec![rounded(self.size)], unnested.clone(), unnested + interval(self.size))
            }
        };
        let time = end.clone() - interval(NANOS_PER_MILLI);
        let windows = [start.alias("window_start"), end.clone().alias("window_end"), time.alias("window_time")];
        let with_windows = own.iter().cloned().chain([make_array(array).alias(array_column.name.as_str())]);
        let in_time = Expr::is_not_null(self.time.clone()).and(end.gt(self.time.clone()));
        LogicalPlanBuilder::from(self.input)
            .project(with_windows)?
            .unnest_column_with_options(array_column, unnesting)?
            .filter(in_time)?
            .project(own.into_iter().chain(windows))?
            .build()
    }
}

fn interval(nanos: i64) -> Expr {
    lit(ScalarValue::IntervalMonthDayNano(Some(IntervalMonthDayNano::new(0, 0, nanos))))
}

/// `DESCRIPTOR(column)`
fn time_column(descriptor: ast::Expr, input: &LogicalPlan, context: &mut dyn RelationPlannerContext) -> Result<Expr> {
    if let ast::Expr::Function(function) = &descriptor
        && function.name.to_string().eq_ignore_ascii_case("descriptor")
        && let FunctionArguments::List(list) = &function.args
        && let [FunctionArg::Unnamed(FunctionArgExpr::Expr(column))] = list.args.as_slice()
    {
        return context.sql_to_expr(column.clone(), input.schema());
    }
    plan_err!("the time column is written as DESCRIPTOR(column), not '{descriptor}'")
}

/// A call's arguments by the names of the parameters.
struct Arguments {
    kind: Kind,
    given: Vec<(&'static str, ast::Expr)>,
}

impl Arguments {
    fn new(kind: Kind, function: &ast::Function) -> Result<Self> {
        let FunctionArguments::List(list) = &function.args else {
            return plan_err!("'{}' needs arguments", function.name);
        };
        let parameters = kind.parameters();
        let mut given: Vec<(&'static str, ast::Expr)> = Vec::new();
        for (index, argument) in list.args.iter().enumerate() {
            let (parameter, value) = match argument {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(value)) => (parameters.get(index), value),
                FunctionArg::Named { name, arg: FunctionArgExpr::Expr(value), .. } => {
                    let named = parameters.iter().find(|p| name.value.eq_ignore_ascii_case(p));
                    (named, value)
                }
                other => return plan_err!("'{other}' is not an argument of '{}'", function.name),
            };
            let Some(parameter) = parameter else {
                let listed = parameters.join(", ");
                return plan_err!("'{argument}' is none of {}'s arguments: {listed}", function.name);
            };
            if given.iter().any(|(known, _)| known == parameter) {
                return plan_err!("{parameter} is given twice to '{}'", function.name);
            }
            given.push((parameter, value.clone()));
        }
        Ok(Self { kind, given })
    }

    fn has(&self, parameter: &str) -> bool {
        self.given.iter().any(|(known, _)| *known == parameter)
    }

    fn take(&mut self, parameter: &str) -> Result<ast::Expr> {
        match self.given.iter().position(|(known, _)| *known == parameter) {
            Some(index) => Ok(self.given.remove(index).1),
            None => {
                let listed = self.kind.parameters().join(", ");
                plan_err!("the window function has no {parameter}; its arguments are {listed}")
            }
        }
    }

    fn nanos(&mut self, parameter: &str, input: &LogicalPlan, context: &mut dyn RelationPlannerContext) -> Result<i64> {
        let written = self.take(parameter)?;
        let expr = context.sql_to_expr(written.clone(), input.schema())?;
        let nanos = match &expr {
            Expr::Literal(ScalarValue::IntervalMonthDayNano(Some(value)), _) if value.months == 0 => {
                let days = i64::from(value.days).checked_mul(NANOS_PER_DAY);
                days.and_then(|days| days.checked_add(value.nanoseconds))
            }
            _ => None,
        };
        match nanos {
            Some(nanos) => Ok(nanos),
            None => plan_err!("{parameter} has to be an INTERVAL of days, hours, minutes or seconds, not '{written}'"),
        }
    }
}
