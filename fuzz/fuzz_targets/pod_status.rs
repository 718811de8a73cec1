#![no_main]

use libfuzzer_sys::fuzz_target;
use provider_azure_rs::foreign_bytes;

fuzz_target!(|input: &[u8]| foreign_bytes::pod_status(input));
