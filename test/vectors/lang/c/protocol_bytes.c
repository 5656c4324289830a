/* TC: counts bytes by kind of traffic, reading the packet with bpf_skb_load_bytes. */
#include "bpf.h"

enum { OTHER, ICMP, TCP, UDP, GRE, ESP, SCTP, ICMPV6, IGMP };

extern struct bpf_map bytes; /* array: u32 -> u64, 9 entries */

int protocol_bytes(struct __sk_buff *skb)
{
	__u32 kind;
	__u64 *count;
	__u8 proto;
	__be16 type;

	if (bpf_skb_load_bytes(skb, offsetof(struct ethhdr, h_proto), &type, sizeof(type)))
		return TC_ACT_OK;
	if (type == bpf_htons(ETH_P_IP)) {
		if (bpf_skb_load_bytes(skb, sizeof(struct ethhdr) + offsetof(struct iphdr, protocol), &proto, 1))
			return TC_ACT_OK;
	} else if (type == bpf_htons(ETH_P_IPV6)) {
		if (bpf_skb_load_bytes(skb, sizeof(struct ethhdr) + offsetof(struct ipv6hdr, nexthdr), &proto, 1))
			return TC_ACT_OK;
	} else {
		return TC_ACT_OK;
	}

	switch (proto) {
	case IPPROTO_ICMP:
		kind = ICMP;
		break;
	case IPPROTO_IGMP:
		kind = IGMP;
		break;
	case IPPROTO_TCP:
		kind = TCP;
		break;
	case IPPROTO_UDP:
		kind = UDP;
		break;
	case IPPROTO_GRE:
		kind = GRE;
		break;
	case IPPROTO_ESP:
		kind = ESP;
		break;
	case IPPROTO_ICMPV6:
		kind = ICMPV6;
		break;
	case IPPROTO_SCTP:
		kind = SCTP;
		break;
	default:
		kind = OTHER;
	}
	count = bpf_map_lookup_elem(&bytes, &kind);
	if (count)
		__sync_fetch_and_add(count, skb->len);
	return TC_ACT_OK;
}
