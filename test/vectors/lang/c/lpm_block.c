/* XDP: drops IPv4 packets from the networks of a list. */
#include "bpf.h"

struct lpm_key {
	__u32 prefixlen;
	__be32 addr;
};

struct network {
	__u32 action;
	__u32 reserved;
	__u64 packets;
};

extern struct bpf_map networks; /* lpm_trie: struct lpm_key -> struct network */

int lpm_block(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data;
	void *data_end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = data;
	struct iphdr *ip = (void *)(eth + 1);

	if ((void *)(ip + 1) > data_end || eth->h_proto != bpf_htons(ETH_P_IP))
		return XDP_PASS;

	struct lpm_key key = { .prefixlen = 32, .addr = ip->saddr };
	struct network *network = bpf_map_lookup_elem(&networks, &key);
	if (!network)
		return XDP_PASS;
	__sync_fetch_and_add(&network->packets, 1);
	return network->action;
}
