//! The one table of permissions: code, tests and documentation read it.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        RefOr, Schema,
        schema::{ObjectBuilder, Type},
    },
};

/// What a person is in their organization. Each may do all that those before it may.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "UPPERCASE")]
pub enum Role {
    /// Looks at what is sold.
    Guest,
    /// Runs the daily business.
    Member,
    /// Manages people and keys.
    Admin,
    /// Answers for the organization.
    Owner,
}

impl Role {
    /// From the least to the most.
    pub const ALL: [Self; 4] = [Self::Guest, Self::Member, Self::Admin, Self::Owner];

    /// As it stands in tables and answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Guest => "GUEST",
            Self::Member => "MEMBER",
            Self::Admin => "ADMIN",
            Self::Owner => "OWNER",
        }
    }

    /// Whether the table gives it a permission.
    #[must_use]
    pub fn may(self, permission: Permission) -> bool {
        self >= permission.least_role()
    }

    /// All that the table gives it.
    pub fn permissions(self) -> impl Iterator<Item = Permission> {
        let all = Permission::ALL.iter().copied();
        all.filter(move |it| self.may(*it))
    }
}

impl FromStr for Role {
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<Self, UnknownName> {
        Self::ALL
            .into_iter()
            .find(|role| role.as_str() == text)
            .ok_or(UnknownName)
    }
}

/// A name that is not in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownName;

impl fmt::Display for UnknownName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("is not a name that is known here")
    }
}

impl std::error::Error for UnknownName {}

macro_rules! permissions {
    ($($(#[doc = $doc:literal])* $name:ident = $text:literal, $role:ident;)*) => {
        /// What may be done. Its name is also the scope that an API key needs for it.
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        pub enum Permission {
            $($(#[doc = $doc])* #[serde(rename = $text)] $name,)*
        }

        impl Permission {
            /// Every permission.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The name, as in scopes.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text),* }
            }

            /// The least role that has it.
            #[must_use]
            pub const fn least_role(self) -> Role {
                match self { $(Self::$name => Role::$role),* }
            }

            /// What it is for.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$name => concat!($($doc),*)),* }
            }
        }
    };
}

permissions! {
    /// Read the organization.
    OrgRead = "org:read", Guest;
    /// Change the organization's name and settings.
    OrgWrite = "org:write", Admin;
    /// Take everything that is stored about the organization away as a file.
    OrgExport = "org:export", Owner;
    /// Close the organization's account.
    OrgClose = "org:close", Owner;
    /// Read who belongs to the organization.
    UsersRead = "users:read", Member;
    /// Invite, change and remove people.
    UsersWrite = "users:write", Admin;
    /// Erase what is stored about a person.
    UsersErase = "users:erase", Owner;
    /// Read which API keys there are.
    ApiKeysRead = "api_keys:read", Admin;
    /// Make and revoke API keys.
    ApiKeysWrite = "api_keys:write", Admin;
    /// Read which signing keys there are.
    SigningKeysRead = "signing_keys:read", Admin;
    /// Make, activate, retire and withdraw signing keys.
    SigningKeysWrite = "signing_keys:write", Admin;
    /// Read the audit trail.
    AuditRead = "audit:read", Admin;
    /// Read products.
    ProductsRead = "products:read", Guest;
    /// Make, change and delete products.
    ProductsWrite = "products:write", Member;
    /// Read feature sets.
    FeatureSetsRead = "feature_sets:read", Guest;
    /// Make, change and delete feature sets.
    FeatureSetsWrite = "feature_sets:write", Member;
    /// Read policies.
    PoliciesRead = "policies:read", Guest;
    /// Make, change and delete policies.
    PoliciesWrite = "policies:write", Member;
    /// Read licenses.
    LicensesRead = "licenses:read", Guest;
    /// Issue and change licenses.
    LicensesWrite = "licenses:write", Member;
    /// Read activations.
    ActivationsRead = "activations:read", Guest;
    /// Revoke activations.
    ActivationsWrite = "activations:write", Member;
    /// Read who holds floating seats.
    LeasesRead = "leases:read", Member;
    /// Take floating seats back.
    LeasesWrite = "leases:write", Member;
    /// Read projects.
    ProjectsRead = "projects:read", Guest;
    /// Make, change and delete projects.
    ProjectsWrite = "projects:write", Member;
}

// By hand: a derived one does not see the names behind the macro.
impl PartialSchema for Permission {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .description(Some(
                "What may be done: a permission, and the scope of an API key.",
            ))
            .enum_values(Some(Self::ALL.iter().map(|it| it.as_str())))
            .into()
    }
}

impl ToSchema for Permission {}

impl FromStr for Permission {
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<Self, UnknownName> {
        Self::ALL
            .iter()
            .copied()
            .find(|it| it.as_str() == text)
            .ok_or(UnknownName)
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_higher_role_may_all_that_a_lower_one_may() {
        for permission in Permission::ALL {
            for pair in Role::ALL.windows(2) {
                assert!(
                    !pair[0].may(*permission) || pair[1].may(*permission),
                    "{permission}"
                );
            }
            assert!(Role::Owner.may(*permission));
            assert_eq!(permission.as_str().parse(), Ok(*permission));
        }
    }

    #[test]
    fn the_description_names_permissions_as_they_are_sent() {
        let described = serde_json::to_value(Permission::schema()).unwrap();
        assert_eq!(
            described["enum"],
            serde_json::to_value(Permission::ALL).unwrap()
        );
        let described = serde_json::to_value(Role::schema()).unwrap();
        let mut roles = described["enum"].as_array().unwrap().clone();
        roles.sort_by_key(ToString::to_string);
        let mut sent: Vec<_> = Role::ALL.map(|it| serde_json::to_value(it).unwrap()).into();
        sent.sort_by_key(ToString::to_string);
        assert_eq!(roles, sent);
    }

    #[test]
    fn a_guest_changes_nothing_and_people_are_for_admins() {
        for permission in Permission::ALL
            .iter()
            .filter(|it| !it.as_str().ends_with(":read"))
        {
            assert!(!Role::Guest.may(*permission), "{permission}");
        }
        assert!(!Role::Member.may(Permission::UsersWrite));
        assert!(!Role::Admin.may(Permission::OrgExport));
    }
}
