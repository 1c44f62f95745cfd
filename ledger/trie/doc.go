// Package trie is the persistent Merkle Patricia trie of accounts and storage.
package trie
