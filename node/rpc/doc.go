// Package rpc answers wallets: Ethereum's execution JSON-RPC and this ledger's
// own cairn_ methods, over HTTP and WebSocket on one port.
//
// Finality is immediate: latest, safe and finalized are the last final block.
// pending differs from latest in nonces only.
//
// Errors are go-ethereum's texts with code −32000, so that clients map them to
// their own error classes. Nothing permanent is answered with a code that makes
// clients retry.
package rpc
