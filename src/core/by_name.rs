//! JSON objects, read by the names of their fields alone.

use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor, value::MapAccessDeserializer},
};

use crate::core::secret::Secret;

/// A struct that is read from an object. What serde derives takes an array as well, and its
/// elements by their order: an answer of `[["ASIA…", …]]` would pass for credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByName<T>(pub T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for ByName<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Object<T> {
            type Value = T;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map))
            }
        }

        deserializer.deserialize_map(Object(PhantomData)).map(Self)
    }
}

/// A field that is to be text; whatever else it is, its neighbours are read all the same, and the
/// reader can say which field it was.
#[derive(Debug, Default)]
pub enum TextField {
    #[default]
    Missing,
    Text(Secret),
    /// What it is instead, such as `a number`.
    Other(&'static str),
}

impl TextField {
    /// The text; `name` is the field's, for the error.
    ///
    /// # Errors
    /// There is none, or something else stands there: which is said, and never its value.
    pub fn text(self, name: &str) -> Result<Secret, String> {
        match self {
            Self::Text(text) => Ok(text),
            Self::Missing => Err(format!("{name} is missing")),
            Self::Other(what) => Err(format!("{name} is {what} and not text")),
        }
    }
}

impl<'de> Deserialize<'de> for TextField {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;

        impl<'de> Visitor<'de> for Any {
            type Value = TextField;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("text")
            }

            fn visit_str<E>(self, text: &str) -> Result<TextField, E> {
                Ok(TextField::Text(Secret::new(text.to_owned())))
            }

            fn visit_unit<E>(self) -> Result<TextField, E> {
                Ok(TextField::Other("null"))
            }

            fn visit_bool<E>(self, _: bool) -> Result<TextField, E> {
                Ok(TextField::Other("true or false"))
            }

            fn visit_u64<E>(self, _: u64) -> Result<TextField, E> {
                Ok(TextField::Other("a number"))
            }

            fn visit_i64<E>(self, _: i64) -> Result<TextField, E> {
                Ok(TextField::Other("a number"))
            }

            fn visit_f64<E>(self, _: f64) -> Result<TextField, E> {
                Ok(TextField::Other("a number"))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<TextField, A::Error> {
                while list.next_element::<IgnoredAny>()?.is_some() {}
                Ok(TextField::Other("a list"))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<TextField, A::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(TextField::Other("an object"))
            }
        }

        deserializer.deserialize_any(Any)
    }
}
