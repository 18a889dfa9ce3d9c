//! Chains and rules as the kernel lists them.

use portolan_netlink::MessageIter;

use super::*;

fn message(fill: impl FnOnce(&mut MessageWriter<'_>)) -> Vec<u8> {
    let mut buffer = Vec::new();
    let mut writer = MessageWriter::new(&mut buffer, wire::GET_RULE, 0, 1);
    writer.bytes(&[2, 0, 0, 0]);
    fill(&mut writer);
    writer.finish().unwrap();
    buffer
}

/// A rule as iptables-nft writes `-m comment … -j TARGET`: a match, a counter, and a jump.
fn rule_to(target: &str) -> Vec<u8> {
    message(|rule| {
        rule.text(1, "nat").text(2, "OUTPUT").attribute(3, &258_u64.to_be_bytes());
        rule.nest(4, |list| {
            list.nest(1, |expression| {
                expression.text(1, "match").nest(2, |data| _ = data.text(1, "comment"));
            });
            list.nest(1, |expression| _ = expression.text(1, "counter"));
            list.nest(1, |expression| {
                expression.text(1, "immediate").nest(2, |data| {
                    // Register 0 is the verdict; -3 is NFT_JUMP.
                    data.attribute(1, &0_u32.to_be_bytes()).nest(2, |data| {
                        data.nest(2, |verdict| {
                            verdict.attribute(1, &(-3_i32).to_be_bytes()).text(2, target);
                        });
                    });
                });
            });
        });
    })
}

fn read_rule(bytes: &[u8], table: &str) -> Option<Found> {
    rule(&MessageIter::new(bytes).next().unwrap(), table)
}

#[test]
fn a_rule_is_its_handle_and_where_it_leads() {
    let wanted = Call { rule: 258, to: "KUBE-SERVICES".to_owned() };
    assert_eq!(read_rule(&rule_to("KUBE-SERVICES"), "nat"), Some(("OUTPUT".to_owned(), wanted)));
}

#[test]
fn rules_of_other_tables_and_to_other_chains_do_not_matter() {
    assert_eq!(read_rule(&rule_to("KUBE-SERVICES"), "filter"), None);
    assert_eq!(read_rule(&rule_to("DOCKER"), "nat"), None);
    assert_eq!(read_rule(&message(|_| ()), "nat"), None);
}

#[test]
fn a_chain_with_a_hook_is_built_in() {
    let read = |hooked: bool, table: &str| {
        let bytes = message(|chain| {
            chain.text(1, table).text(3, "OUTPUT");
            if hooked {
                chain.nest(4, |hook| _ = hook.attribute(1, &3_u32.to_be_bytes()));
            }
        });
        chain(&MessageIter::new(&bytes).next().unwrap()).map(|(_, chain)| chain.kind)
    };
    assert_eq!(read(true, "nat"), Some(ChainKind::BuiltIn));
    assert_eq!(read(false, "nat"), Some(ChainKind::User));
    assert_eq!(read(true, "portolan"), None);
}
