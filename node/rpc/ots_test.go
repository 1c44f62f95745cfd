package rpc

import "testing"

// TestOtterscanBlockNumbers: Otterscan sends block numbers as numbers of JSON.
func TestOtterscanBlockNumbers(t *testing.T) {
	t.Parallel()
	f := newFixture(t, options{})
	block, _ := threeKinds(f)
	for _, n := range []any{1, "0x1", "latest"} {
		h := f.call("erigon_getHeaderByNumber", n).(map[string]any)
		equal(t, "header", h["hash"], any(block.Hash().Hex()))
		details := f.call("ots_getBlockDetails", n).(map[string]any)["block"].(map[string]any)
		equal(t, "details", details["hash"], any(block.Hash().Hex()))
		page := f.call("ots_getBlockTransactions", n, 0, 25).(map[string]any)["fullblock"].(map[string]any)
		equal(t, "page", page["hash"], any(block.Hash().Hex()))
	}
	equal(t, "beyond the head", f.call("erigon_getHeaderByNumber", 99), nil)
	for _, bad := range []any{-1, 1.5, 1e30, true, "1", []int{1}} {
		code, _ := f.callError("erigon_getHeaderByNumber", bad)
		equal(t, "code", code, codeInvalidParams)
	}
}
