//! Partition fields: added, dropped, renamed (Iceberg spec, "Partition Evolution").
//!
//! Files stay in the partitions that they were written into; only new ones follow the new spec. In format version 1 a
//! dropped field stays in the spec as `void`, so that the fields behind it keep their ids. From version 2 on it goes,
//! and a field that comes back with the source and transform of an older one gets that one's id again.

use super::tree::Tree;
use super::{FieldPath, MetadataPlan};
use crate::spec::{
    FormatVersion, PartitionField, TableMetadata, TableRequirement, Transform, UnboundPartitionField,
    UnboundPartitionSpec,
};
use crate::{Error, Result};

/// One step of a change of the partition spec.
#[derive(Clone, Debug)]
pub enum SpecStep {
    /// A partition field more.
    Add {
        /// A column of a primitive type, not inside of a list or map.
        source: FieldPath,
        /// What is done to its values.
        transform: Transform,
        /// The partition field's name; `None`: [`partition_field_name`].
        name: Option<String>,
    },
    /// A partition field less, by its name.
    Drop {
        /// The partition field's name.
        name: String,
    },
    /// A partition field less, by what it is made of.
    DropTerm {
        /// The column.
        source: FieldPath,
        /// What is done to its values.
        transform: Transform,
    },
    /// A partition field gets another name.
    Rename {
        /// The name of now.
        name: String,
        /// The new name.
        to: String,
    },
}

/// The name of a partition field that nobody named, as Iceberg's Java library has it; with letters, digits and
/// underscores only, since it is the name of an Avro field in every manifest.
pub fn partition_field_name(source: &FieldPath, transform: Transform) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' };
    let mut name: String = source.names().join("_").chars().map(plain).collect();
    if name.starts_with(|c: char| c.is_ascii_digit()) {
        name.insert(0, '_');
    }
    match transform {
        Transform::Identity => name,
        Transform::Bucket(count) => format!("{name}_bucket_{count}"),
        Transform::Truncate(width) => format!("{name}_trunc_{width}"),
        Transform::Void => format!("{name}_null"),
        other => format!("{name}_{other}"),
    }
}

pub(super) fn plan(metadata: &TableMetadata, steps: &[SpecStep]) -> Result<MetadataPlan> {
    let mut evolution = Evolution::of(metadata);
    for step in steps {
        match step {
            SpecStep::Add { source, transform, name } => evolution.add(source, *transform, name.as_deref())?,
            SpecStep::Drop { name } => evolution.drop_field(|field| field.name == *name, name)?,
            SpecStep::DropTerm { source, transform } => {
                let source_id = evolution.source(source)?.0;
                let term = format!("{transform} of {source}");
                evolution.drop_field(|f| f.source_id == source_id && f.transform == *transform, &term)?;
            }
            SpecStep::Rename { name, to } => evolution.rename(name, to)?,
        }
    }
    let fields = evolution.fields;
    if fields == metadata.default_partition_spec().fields() {
        return Ok(MetadataPlan::default());
    }
    let spec_id = metadata.partition_specs_iter().map(|spec| spec.spec_id()).max().unwrap_or(0) + 1;
    let spec = UnboundPartitionSpec::builder()
        .with_spec_id(spec_id)
        .add_partition_fields(fields.into_iter().map(UnboundPartitionField::from))
        .map_err(|error| Error::InvalidChange(error.message().to_owned()))?
        .build();
    let requirements = vec![
        TableRequirement::LastAssignedPartitionIdMatch { last_assigned_partition_id: metadata.last_partition_id() },
        TableRequirement::DefaultSpecIdMatch { default_spec_id: metadata.default_partition_spec_id() },
        // Partition fields are bound to columns by id.
        TableRequirement::CurrentSchemaIdMatch { current_schema_id: metadata.current_schema_id() },
    ];
    Ok(MetadataPlan { requirements, updates: super::current::spec_updates(metadata, spec) })
}

struct Evolution<'a> {
    metadata: &'a TableMetadata,
    tree: Tree,
    fields: Vec<PartitionField>,
    last_id: i32,
}

impl<'a> Evolution<'a> {
    fn of(metadata: &'a TableMetadata) -> Self {
        Self {
            metadata,
            tree: Tree::new(metadata.current_schema().as_struct().fields(), true),
            fields: metadata.default_partition_spec().fields().to_vec(),
            last_id: metadata.last_partition_id(),
        }
    }

    /// Id and full path of a source column.
    fn source(&self, path: &FieldPath) -> Result<(i32, FieldPath)> {
        let located = self.tree.locate(path)?;
        Ok((located.field.id, located.path))
    }

    fn add(&mut self, source: &FieldPath, transform: Transform, name: Option<&str>) -> Result<()> {
        let (source_id, path) = self.source(source)?;
        self.check_source(source_id, &path, transform)?;
        if let Some(same) = self.fields.iter().find(|f| f.source_id == source_id && f.transform == transform) {
            let reason = format!("the table is partitioned by {transform} of {path} already, as '{}'", same.name);
            return Err(Error::InvalidChange(reason));
        }
        let is_time = |t: Transform| matches!(t, Transform::Year | Transform::Month | Transform::Day | Transform::Hour);
        let finer = self.fields.iter().find(|f| f.source_id == source_id && is_time(f.transform));
        if let (true, Some(other)) = (is_time(transform), finer) {
            let reason = format!(
                "{transform} of {path} would come beside '{}': partition by one of them, DROP PARTITION FIELD the other",
                other.name
            );
            return Err(Error::InvalidChange(reason));
        }
        let recycled = self.recycled(source_id, transform, name);
        let name = match (name, &recycled) {
            (Some(name), _) => name.to_owned(),
            (None, Some(old)) => old.name.clone(),
            (None, None) => partition_field_name(&path, transform),
        };
        self.make_way(&name)?;
        self.check_name(&name, source_id, transform)?;
        let field_id = match recycled {
            Some(old) => old.field_id,
            None => {
                self.last_id += 1;
                self.last_id
            }
        };
        self.fields.push(PartitionField { source_id, field_id, name, transform });
        Ok(())
    }

    fn check_source(&self, source_id: i32, path: &FieldPath, transform: Transform) -> Result<()> {
        let schema = self.metadata.current_schema();
        let field = schema.field_by_id(source_id).expect("the path was found in this schema");
        if schema.accessor_by_field_id(source_id).is_none() {
            let reason = "a table can't be partitioned by it: it is not a primitive column, or inside of a list or map";
            return Err(Error::invalid_schema(&path.to_string(), reason));
        }
        match transform.result_type(&field.field_type) {
            Ok(_) => Ok(()),
            Err(_) => {
                let reason = format!("there is no {transform} of {}", field.field_type);
                Err(Error::invalid_schema(&path.to_string(), reason))
            }
        }
    }

    /// A field of an older spec with the same source and transform, unless another name is asked for.
    fn recycled(&self, source_id: i32, transform: Transform, name: Option<&str>) -> Option<PartitionField> {
        if self.metadata.format_version() < FormatVersion::V2 {
            return None;
        }
        let specs = self.metadata.partition_specs_iter();
        let mut alike: Vec<_> = specs
            .flat_map(|spec| spec.fields())
            .filter(|f| f.source_id == source_id && f.transform == transform)
            .filter(|f| name.is_none_or(|name| f.name == name))
            .collect();
        alike.sort_by_key(|field| field.field_id);
        alike.first().map(|field| (*field).clone())
    }

    fn drop_field(&mut self, is_it: impl Fn(&PartitionField) -> bool, what: &str) -> Result<()> {
        // A void field is one that was dropped already, but from version 2 on it may go for good.
        let is_there = |field: &PartitionField| !self.is_gone(field) && is_it(field);
        let index = self.fields.iter().position(is_there).ok_or_else(|| self.no_such(what))?;
        match self.metadata.format_version() {
            FormatVersion::V1 => {
                let columns = self.metadata.current_schema();
                let field = &mut self.fields[index];
                field.transform = Transform::Void;
                // Only a column's own values may stand under its name.
                if columns.as_struct().field_by_name(&field.name).is_some() {
                    give_way(field);
                }
            }
            _ => drop(self.fields.remove(index)),
        }
        Ok(())
    }

    fn rename(&mut self, name: &str, to: &str) -> Result<()> {
        let found = self.fields.iter().position(|f| f.name == name && f.transform != Transform::Void);
        let index = found.ok_or_else(|| self.no_such(name))?;
        if name == to {
            return Ok(());
        }
        self.make_way(to)?;
        let (source_id, transform) = (self.fields[index].source_id, self.fields[index].transform);
        self.check_name(to, source_id, transform)?;
        to.clone_into(&mut self.fields[index].name);
        Ok(())
    }

    /// Whether the field only holds the place of one that was dropped.
    fn is_gone(&self, field: &PartitionField) -> bool {
        field.transform == Transform::Void && self.metadata.format_version() == FormatVersion::V1
    }

    /// A dropped field of a version 1 table gives its name up.
    fn make_way(&mut self, name: &str) -> Result<()> {
        match self.fields.iter_mut().find(|field| field.name == name) {
            None => Ok(()),
            Some(old) if old.transform == Transform::Void => {
                give_way(old);
                Ok(())
            }
            Some(_) => Err(Error::InvalidChange(format!("there is a partition field '{name}' already"))),
        }
    }

    /// A partition field may have a column's name only if it has that column's values.
    fn check_name(&self, name: &str, source_id: i32, transform: Transform) -> Result<()> {
        if name.is_empty() {
            return Err(Error::InvalidChange("a partition field's name can't be empty".to_owned()));
        }
        let column = self.metadata.current_schema().as_struct().field_by_name(name);
        match column {
            Some(column) if column.id != source_id || transform != Transform::Identity => {
                let reason = format!("the partition field can't be called '{name}': there is a column of that name");
                Err(Error::InvalidChange(reason))
            }
            _ => Ok(()),
        }
    }

    fn no_such(&self, what: &str) -> Error {
        let names: Vec<_> = self.fields.iter().filter(|f| !self.is_gone(f)).map(|f| f.name.as_str()).collect();
        let there = match names.is_empty() {
            true => "the table is not partitioned".to_owned(),
            false => format!("there are {}", names.join(", ")),
        };
        Error::InvalidChange(format!("there is no partition field '{what}'; {there}"))
    }
}

/// Takes a name that nobody else wants.
fn give_way(field: &mut PartitionField) {
    field.name = format!("{}_{}", field.name, field.field_id);
}

/// The fields of a spec in a few words.
pub(super) fn spec_text(fields: &[UnboundPartitionField]) -> String {
    let texts = fields.iter().map(|field| {
        let id = field.field_id.map_or_else(|| "new".to_owned(), |id| id.to_string());
        format!("{id}: {} = {}({})", field.name, field.transform, field.source_id)
    });
    texts.collect::<Vec<_>>().join(", ")
}
