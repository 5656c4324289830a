/* cgroup egress: counts bytes for each IPv4 destination in a /24, and drops what goes to a network beyond its quota. */
#include "bpf.h"

struct usage {
	__u64 bytes;
	__u64 quota; /* 0: none */
};

extern struct bpf_map usage; /* hash: u32 (network, host order) -> struct usage */

int egress_bytes(struct __sk_buff *skb)
{
	void *data = (void *)(long)skb->data;
	void *data_end = (void *)(long)skb->data_end;
	struct iphdr *ip = data; /* a cgroup's packets begin with the network header */

	if (skb->protocol != bpf_htons(ETH_P_IP))
		return 1;
	if ((void *)(ip + 1) > data_end)
		return 1;

	__u32 network = bpf_ntohl(ip->daddr) >> 8;
	struct usage *entry = bpf_map_lookup_elem(&usage, &network);
	if (!entry) {
		struct usage fresh = { .bytes = skb->len };

		bpf_map_update_elem(&usage, &network, &fresh, BPF_NOEXIST);
		return 1;
	}
	__u64 before = __sync_fetch_and_add(&entry->bytes, skb->len);
	return !entry->quota || before < entry->quota;
}
