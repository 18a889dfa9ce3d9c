//! What the kubelet keeps in the tables of iptables, beside kube-proxy and under similar names.

use portolan_core::IpFamily;

/// Input for [`Xtables::restore`](super::Xtables::restore): the kubelet's canary and hint, and the chain that
/// it shares with kube-proxy.
pub fn ruleset(family: IpFamily) -> String {
    let localnet = match family {
        IpFamily::V4 => {
            "-A KUBE-FIREWALL ! -s 127.0.0.0/8 -d 127.0.0.0/8 -m comment --comment \"block incoming localnet \
             connections\" -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP\n"
        }
        IpFamily::V6 => "",
    };
    format!(
        "*mangle\n\
         :KUBE-IPTABLES-HINT - [0:0]\n\
         :KUBE-KUBELET-CANARY - [0:0]\n\
         COMMIT\n\
         *filter\n\
         :KUBE-FIREWALL - [0:0]\n\
         :KUBE-KUBELET-CANARY - [0:0]\n\
         -I INPUT -j KUBE-FIREWALL\n\
         -I OUTPUT -j KUBE-FIREWALL\n\
         {localnet}\
         COMMIT\n\
         *nat\n\
         :KUBE-KUBELET-CANARY - [0:0]\n\
         COMMIT\n"
    )
}
