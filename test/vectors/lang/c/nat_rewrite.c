/* TC: rewrites the destination of UDP over IPv4 (without options) by a table, and mends both checksums. */
#include "bpf.h"

#define IP_OFF sizeof(struct ethhdr)
#define UDP_OFF (IP_OFF + sizeof(struct iphdr))

struct endpoint {
	__be32 addr;
	__be16 port;
	__u16 reserved;
};

extern struct bpf_map nat; /* hash: struct endpoint -> struct endpoint */

int nat_rewrite(struct __sk_buff *skb)
{
	void *data = (void *)(long)skb->data;
	void *data_end = (void *)(long)skb->data_end;
	struct ethhdr *eth = data;
	struct iphdr *ip = (void *)(eth + 1);
	struct udphdr *udp = (void *)(ip + 1);

	if ((void *)(udp + 1) > data_end)
		return TC_ACT_OK;
	if (eth->h_proto != bpf_htons(ETH_P_IP) || ip->ihl != 5 || ip->protocol != IPPROTO_UDP)
		return TC_ACT_OK;

	struct endpoint old = { .addr = ip->daddr, .port = udp->dest };
	struct endpoint *new = bpf_map_lookup_elem(&nat, &old);
	if (!new)
		return TC_ACT_OK;

	if (udp->check) {
		const __u32 check = UDP_OFF + offsetof(struct udphdr, check);

		bpf_l4_csum_replace(skb, check, old.addr, new->addr, BPF_F_PSEUDO_HDR | 4);
		bpf_l4_csum_replace(skb, check, old.port, new->port, 2);
	}
	bpf_l3_csum_replace(skb, IP_OFF + offsetof(struct iphdr, check), old.addr, new->addr, 4);
	bpf_skb_store_bytes(skb, IP_OFF + offsetof(struct iphdr, daddr), &new->addr, 4, 0);
	bpf_skb_store_bytes(skb, UDP_OFF + offsetof(struct udphdr, dest), &new->port, 2, 0);
	return TC_ACT_OK;
}
