package wallet

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math/bits"
	"strings"

	"cairn/crypto"

	"github.com/ethereum/go-ethereum/accounts/keystore"
)

// Limits of a key file. A file is input: without them one could ask scrypt for
// any amount of memory and time.
const (
	maxKeyFileBytes     = 64 << 10
	maxScryptMemory     = 1 << 30 // bytes, 128·n·r; the standard cost uses 256 MiB
	maxScryptWork       = 1 << 24 // n·r·p; the standard cost is 1<<21
	maxPBKDF2Iterations = 10_000_000
	maxSaltBytes        = 1024
	derivedKeyBytes     = 32
)

// KDF is the cost of turning a password into the key that encrypts a file.
type KDF struct{ n, p int }

// The costs. KDFStandard takes 256 MiB and about a second and is the right one
// for keys that guard money; KDFLight takes 4 MiB and some milliseconds and is
// for tests and development networks.
var (
	KDFStandard = KDF{keystore.StandardScryptN, keystore.StandardScryptP}
	KDFLight    = KDF{keystore.LightScryptN, keystore.LightScryptP}
)

// KeyFile is a checked Web3 Secret Storage v3 file, still encrypted.
type KeyFile struct {
	Address crypto.Address
	crypto  keystore.CryptoJSON
}

// keyFileJSON is the file's JSON, field for field.
type keyFileJSON struct {
	Address    string          `json:"address"`
	Crypto     json.RawMessage `json:"crypto"`
	ID         string          `json:"id"`
	Version    json.RawMessage `json:"version"`
	PrivateKey json.RawMessage `json:"privatekey,omitempty"`
}

type cryptoJSON struct {
	Cipher       string `json:"cipher"`
	Ciphertext   string `json:"ciphertext"`
	CipherParams struct {
		IV string `json:"iv"`
	} `json:"cipherparams"`
	KDF       string          `json:"kdf"`
	KDFParams json.RawMessage `json:"kdfparams"`
	MAC       string          `json:"mac"`
}

// ParseKeyFile reads and checks everything of a key file that needs no
// password. Errors: the ErrKeyFile kinds.
func ParseKeyFile(b []byte) (*KeyFile, error) {
	if len(b) > maxKeyFileBytes {
		return nil, fmt.Errorf("%w: %d bytes, at most %d", ErrKeyFileSize, len(b), maxKeyFileBytes)
	}
	var f keyFileJSON
	if err := json.Unmarshal(b, &f); err != nil {
		return nil, fmt.Errorf("%w: %v", ErrKeyFileJSON, err)
	}
	if len(f.PrivateKey) > 0 {
		return nil, ErrKeyFilePlain
	}
	if v := string(bytes.TrimSpace(f.Version)); v != "3" {
		return nil, fmt.Errorf("%w: %.20q", ErrKeyFileVersion, v)
	}
	address, err := hex.DecodeString(strings.TrimPrefix(f.Address, "0x"))
	if err != nil || len(address) != crypto.AddressLength {
		return nil, ErrKeyFileAddress
	}
	c, err := parseCrypto(f.Crypto)
	if err != nil {
		return nil, err
	}
	return &KeyFile{Address: crypto.Address(address), crypto: c}, nil
}

func parseCrypto(raw []byte) (c keystore.CryptoJSON, err error) {
	var j cryptoJSON
	if err := json.Unmarshal(raw, &j); err != nil {
		return c, fmt.Errorf("%w: crypto: %v", ErrKeyFileJSON, err)
	}
	if j.Cipher != "aes-128-ctr" {
		return c, fmt.Errorf("%w: %.20q", ErrKeyFileCipher, j.Cipher)
	}
	for _, part := range []struct {
		text string
		n    int
		kind ErrorKind
	}{
		{j.CipherParams.IV, 16, ErrKeyFileIV},
		{j.Ciphertext, crypto.PrivateKeyLength, ErrKeyFileCiphertext},
		{j.MAC, crypto.HashLength, ErrKeyFileMAC},
	} {
		if b, err := hex.DecodeString(part.text); err != nil || len(b) != part.n {
			return c, part.kind
		}
	}
	c.Cipher, c.CipherText, c.CipherParams.IV, c.MAC = j.Cipher, j.Ciphertext, j.CipherParams.IV, j.MAC
	c.KDF = j.KDF
	c.KDFParams, err = parseKDF(j.KDF, j.KDFParams)
	return c, err
}

// parseKDF answers the parameters with the types that go-ethereum reads them
// by: it would panic on a missing or mistyped one.
func parseKDF(kdf string, raw []byte) (map[string]any, error) {
	if kdf != "scrypt" && kdf != "pbkdf2" {
		return nil, fmt.Errorf("%w: %.20q", ErrKeyFileKDF, kdf)
	}
	var p struct {
		N, R, P, C int
		DKLen      int
		Salt, PRF  string
	}
	if err := json.Unmarshal(raw, &p); err != nil {
		return nil, fmt.Errorf("%w: %v", ErrKeyFileKDFParams, err)
	}
	salt, err := hex.DecodeString(p.Salt)
	if err != nil || len(salt) == 0 || len(salt) > maxSaltBytes {
		return nil, fmt.Errorf("%w: salt is not 1 to %d bytes of hex", ErrKeyFileKDFParams, maxSaltBytes)
	}
	if p.DKLen != derivedKeyBytes {
		return nil, fmt.Errorf("%w: dklen %d, want %d", ErrKeyFileKDFParams, p.DKLen, derivedKeyBytes)
	}
	if kdf == "pbkdf2" {
		if p.PRF != "hmac-sha256" {
			return nil, fmt.Errorf("%w: prf %.20q, want hmac-sha256", ErrKeyFileKDFParams, p.PRF)
		}
		if p.C < 1 || p.C > maxPBKDF2Iterations {
			return nil, fmt.Errorf("%w: c %d, want 1 to %d", ErrKeyFileKDFParams, p.C, maxPBKDF2Iterations)
		}
		return map[string]any{"c": p.C, "dklen": p.DKLen, "prf": p.PRF, "salt": p.Salt}, nil
	}
	if err := checkScrypt(p.N, p.R, p.P); err != nil {
		return nil, err
	}
	return map[string]any{"n": p.N, "r": p.R, "p": p.P, "dklen": p.DKLen, "salt": p.Salt}, nil
}

func checkScrypt(n, r, p int) error {
	if n < 2 || n > maxScryptWork || bits.OnesCount(uint(n)) != 1 {
		return fmt.Errorf("%w: scrypt n %d is not a power of two up to %d", ErrKeyFileKDFParams, n, maxScryptWork)
	}
	if r < 1 || p < 1 || r > maxScryptMemory/128/n || p > maxScryptWork/(n*r) {
		return fmt.Errorf("%w: scrypt n=%d r=%d p=%d costs more than this wallet spends", ErrKeyFileKDFParams, n, r, p)
	}
	return nil
}

// Decrypt opens the file. Errors: ErrPassword; ErrKeyFileMismatch; those of
// crypto.PrivateKeyFromBytes.
func (f *KeyFile) Decrypt(password string) (*crypto.PrivateKey, error) {
	b, err := keystore.DecryptDataV3(f.crypto, password)
	if errors.Is(err, keystore.ErrDecrypt) {
		return nil, ErrPassword
	}
	if err != nil {
		return nil, fmt.Errorf("decrypt a key file: %w", err)
	}
	key, err := crypto.PrivateKeyFromBytes(b)
	if err != nil {
		return nil, err
	}
	if key.Address() != f.Address {
		return nil, fmt.Errorf("%w: %s, not %s", ErrKeyFileMismatch, key.Address(), f.Address)
	}
	return key, nil
}

// EncryptKey makes the text of a key file. Errors: ErrPasswordEmpty.
func EncryptKey(key *crypto.PrivateKey, password string, kdf KDF) ([]byte, error) {
	if password == "" {
		return nil, ErrPasswordEmpty
	}
	c, err := keystore.EncryptDataV3(key.Bytes(), []byte(password), kdf.n, kdf.p)
	if err != nil {
		return nil, fmt.Errorf("encrypt a key: %w", err)
	}
	raw, err := json.Marshal(c)
	if err != nil {
		return nil, fmt.Errorf("encrypt a key: %w", err)
	}
	address := key.Address()
	b, err := json.Marshal(keyFileJSON{
		Address: hex.EncodeToString(address[:]),
		Crypto:  raw,
		ID:      randomUUID(),
		Version: json.RawMessage("3"),
	})
	if err != nil {
		return nil, fmt.Errorf("encrypt a key: %w", err)
	}
	return append(b, '\n'), nil
}

// randomUUID is an RFC 9562 version 4 identifier; the format wants one that
// says nothing about the key.
func randomUUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails: it ends the process instead
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
