//! Appends numbers and addresses as text to a buffer, for the text of every request. `core::fmt` does
//! the same at several times the cost.

use std::io::Write as _;
use std::net::IpAddr;

/// Appends a number in decimal digits.
pub fn push_number(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// Appends the last three digits of a number, zeros in front.
pub fn push_thousandths(out: &mut Vec<u8>, number: u64) {
    let digit = |unit: u64| b'0' + (number / unit % 10) as u8;
    out.extend_from_slice(&[digit(100), digit(10), digit(1)]);
}

/// Appends an address as its `Display` shows it.
pub fn push_address(out: &mut Vec<u8>, address: IpAddr) {
    match address {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            push_number(out, a.into());
            for octet in [b, c, d] {
                out.push(b'.');
                push_number(out, octet.into());
            }
        }
        IpAddr::V6(address) => {
            // Writing into a Vec cannot fail.
            write!(out, "{address}").ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use proptest::prelude::*;

    use super::*;

    fn written(write: impl Fn(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_limits_of_the_range_are_formatted() {
        for number in [0, 9, 10, 999, 1_000, u64::MAX] {
            let text = written(|out| push_number(out, number));
            assert_eq!(text, number.to_string());
        }
    }

    proptest! {
        #[test]
        fn every_value_is_formatted_as_by_display(number: u64, v4: u32, v6: u128) {
            let shift = number % 64;
            let short = number >> shift;
            prop_assert_eq!(written(|out| push_number(out, short)), short.to_string());
            let last = format!("{:03}", number % 1000);
            prop_assert_eq!(written(|out| push_thousandths(out, number)), last);
            for address in [IpAddr::V4(Ipv4Addr::from(v4)), IpAddr::V6(Ipv6Addr::from(v6))] {
                prop_assert_eq!(written(|out| push_address(out, address)), address.to_string());
            }
        }
    }
}
