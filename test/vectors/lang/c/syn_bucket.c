/* XDP: a token bucket for each source of TCP SYNs: 8 at once, and one more each 100 s. */
#include "bpf.h"

#define BURST 8
#define INTERVAL_NS 100000000000ULL

struct bucket {
	__u64 last; /* when a token was last given, ns */
	__u64 tokens;
};

extern struct bpf_map buckets; /* lru_hash: be32 -> struct bucket */

int syn_bucket(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data;
	void *data_end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = data;
	struct iphdr *ip = (void *)(eth + 1);

	if ((void *)(ip + 1) > data_end)
		return XDP_PASS;
	if (eth->h_proto != bpf_htons(ETH_P_IP) || ip->protocol != IPPROTO_TCP || ip->ihl < 5)
		return XDP_PASS;
	struct tcphdr *tcp = (void *)ip + ip->ihl * 4;
	if ((void *)(tcp + 1) > data_end || !tcp->syn || tcp->ack)
		return XDP_PASS;

	__be32 source = ip->saddr;
	__u64 now = bpf_ktime_get_ns();
	struct bucket *bucket = bpf_map_lookup_elem(&buckets, &source);
	if (!bucket) {
		struct bucket fresh = { .last = now, .tokens = BURST - 1 };

		bpf_map_update_elem(&buckets, &source, &fresh, BPF_ANY);
		return XDP_PASS;
	}

	__u64 tokens = bucket->tokens;
	__u64 earned = (now - bucket->last) / INTERVAL_NS;
	if (earned) {
		bucket->last += earned * INTERVAL_NS;
		tokens += earned;
		if (tokens > BURST)
			tokens = BURST;
	}
	if (!tokens) {
		bucket->tokens = 0;
		return XDP_DROP;
	}
	bucket->tokens = tokens - 1;
	return XDP_PASS;
}
