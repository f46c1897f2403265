//! The variables of the account API.

use std::net::IpAddr;

use super::ConfigError;
use crate::{api::PlanQuotas, buckets::Quota};

fn items(value: Option<&str>) -> impl Iterator<Item = &str> {
    let items = value.unwrap_or_default().split(',').map(str::trim);
    items.filter(|item| !item.is_empty())
}

/// Origins whose pages may call the account API: none if absent.
///
/// # Errors
/// [`ConfigError`] with what is no origin.
pub fn cors_origins(value: Option<&str>) -> Result<Vec<String>, ConfigError> {
    let check = |item: &str| {
        let host = item
            .strip_prefix("https://")
            .or_else(|| item.strip_prefix("http://"));
        let sound =
            host.is_some_and(|host| !host.is_empty() && !host.contains(['/', '?', '#', ' ']));
        if sound || item == "*" {
            return Ok(item.to_owned());
        }
        let why = format!(
            "has {item:?}: each must be such as https://console.example.com, without a path, or *"
        );
        Err(ConfigError::new("LICET_CORS_ORIGINS", why))
    };
    items(value).map(check).collect()
}

/// Proxies whose `X-Forwarded-For` is believed: none if absent.
///
/// # Errors
/// [`ConfigError`] with what is no address.
pub fn trusted_proxies(value: Option<&str>) -> Result<Vec<IpAddr>, ConfigError> {
    let read = |item: &str| {
        let address: Result<IpAddr, _> = item.parse();
        address.map(|address| address.to_canonical()).map_err(|_| {
            let why = format!("has {item:?}: each must be an IP address");
            ConfigError::new("LICET_TRUSTED_PROXIES", why)
        })
    };
    items(value).map(read).collect()
}

/// Requests per minute and organization, by plan. A plan that is not named keeps its default.
///
/// # Errors
/// [`ConfigError`] with what can't be read.
pub fn rate_limits(value: Option<&str>) -> Result<PlanQuotas, ConfigError> {
    let mut quotas = PlanQuotas::default();
    for item in items(value) {
        let wrong = || {
            let why = format!(
                "has {item:?}: each must be FREE=, PRO= or ENTERPRISE= and requests per minute, 1 to 60000"
            );
            ConfigError::new("LICET_RATE_LIMITS", why)
        };
        let (plan, number) = item.split_once('=').ok_or_else(wrong)?;
        let capacity = number
            .parse()
            .ok()
            .filter(|number| (1..=60_000).contains(number));
        let quota = Quota {
            capacity: capacity.ok_or_else(wrong)?,
            window_s: 60,
        };
        match plan {
            "FREE" => quotas.free = quota,
            "PRO" => quotas.pro = quota,
            "ENTERPRISE" => quotas.enterprise = quota,
            _ => return Err(wrong()),
        }
    }
    Ok(quotas)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_and_what_is_wrong_is_named() {
        assert_eq!(cors_origins(None), Ok(Vec::new()));
        let origins = cors_origins(Some("https://a.test, http://127.0.0.1:3000,*")).unwrap();
        assert_eq!(origins.len(), 3);
        assert!(cors_origins(Some("https://a.test/x")).is_err());
        assert!(cors_origins(Some("a.test")).is_err());
        assert_eq!(
            trusted_proxies(Some("::ffff:10.0.0.1")).unwrap(),
            ["10.0.0.1".parse::<IpAddr>().unwrap()]
        );
        assert!(trusted_proxies(Some("10.0.0.0/8")).is_err());
        let quotas = rate_limits(Some("PRO=7")).unwrap();
        assert_eq!((quotas.pro.capacity, quotas.free.capacity), (7, 600));
        for bad in ["PRO", "PRO=0", "GOLD=1", "FREE=x"] {
            let error = rate_limits(Some(bad)).unwrap_err().to_string();
            assert!(
                error.starts_with("LICET_RATE_LIMITS") && error.contains(bad),
                "{error}"
            );
        }
    }
}
