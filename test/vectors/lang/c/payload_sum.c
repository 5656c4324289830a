/* XDP: the Internet checksum of up to 512 bytes behind the IPv4 header, kept for the flow's addresses. */
#include "bpf.h"

#define MAX_WORDS 256

struct key {
	__be32 saddr;
	__be32 daddr;
};

extern struct bpf_map sums; /* lru_hash: struct key -> u32 */

int payload_sum(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data;
	void *data_end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = data;
	struct iphdr *ip = (void *)(eth + 1);
	__u16 *word = (void *)(ip + 1);
	__u32 sum = 0;

	if ((void *)word > data_end || eth->h_proto != bpf_htons(ETH_P_IP) || ip->ihl != 5)
		return XDP_PASS;

	for (int i = 0; i < MAX_WORDS; i++) {
		if ((void *)(word + 1) > data_end)
			break;
		sum += *word++;
	}
	if ((void *)word < data_end && (void *)word + 1 <= data_end)
		sum += *(__u8 *)word;
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = ~sum & 0xffff;

	struct key key = { .saddr = ip->saddr, .daddr = ip->daddr };
	bpf_map_update_elem(&sums, &key, &sum, BPF_ANY);
	return XDP_PASS;
}
