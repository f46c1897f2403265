//! What the integration tests share.
#![allow(dead_code, unused_macros, unused_imports)]

/// Tests that run natively under libtest and on wasm32 under wasm-bindgen-test.
macro_rules! both_targets {
    ($($(#[$attribute:meta])* fn $name:ident() $body:block)*) => {
        $(
            $(#[$attribute])*
            #[cfg_attr(not(target_arch = "wasm32"), test)]
            #[cfg_attr(target_arch = "wasm32", wasm_bindgen_test::wasm_bindgen_test)]
            fn $name() $body
        )*
    };
}
pub(crate) use both_targets;
