/* TC: gives packets a mark and a priority by the DSCP of their IPv4 or IPv6 header. */
#include "bpf.h"

int dscp_mark(struct __sk_buff *skb)
{
	void *data = (void *)(long)skb->data;
	void *data_end = (void *)(long)skb->data_end;
	struct ethhdr *eth = data;
	__u32 dscp, mark, priority;

	if (skb->protocol == bpf_htons(ETH_P_IP)) {
		struct iphdr *ip = (void *)(eth + 1);

		if ((void *)(ip + 1) > data_end)
			return TC_ACT_OK;
		dscp = ip->tos >> 2;
	} else if (skb->protocol == bpf_htons(ETH_P_IPV6)) {
		struct ipv6hdr *ip6 = (void *)(eth + 1);

		if ((void *)(ip6 + 1) > data_end)
			return TC_ACT_OK;
		dscp = ip6->priority << 2 | ip6->flow_lbl[0] >> 6;
	} else {
		return TC_ACT_UNSPEC;
	}

	mark = dscp;
	priority = skb->priority;
	if (dscp == 46) {
		mark |= 0x100;
		priority = 6;
	} else if (dscp >= 32) {
		mark |= 0x200;
		priority = 4;
	}
	/* Stores in the branches would be joined into one through a computed address, which the verifier refuses. */
	skb->mark = mark;
	skb->priority = priority;
	return TC_ACT_OK;
}
