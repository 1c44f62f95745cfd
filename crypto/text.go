package crypto

import (
	"encoding/hex"
	"fmt"
	"strings"
)

// ParseAddress reads 0x and 40 hex digits. All lower case and all upper case
// are accepted; mixed case must be the EIP-55 checksum of the address, so that
// a mistyped digit is refused. Errors: ErrHex, ErrAddressLength,
// ErrAddressChecksum.
func ParseAddress(text string) (Address, error) {
	digits, err := hexDigits(text)
	if err != nil {
		return Address{}, fmt.Errorf("address %w", err)
	}
	if len(digits) != 2*AddressLength {
		return Address{}, fmt.Errorf("%w: %d hex digits, want %d", ErrAddressLength, len(digits), 2*AddressLength)
	}
	var a Address
	if _, err := hex.Decode(a[:], []byte(digits)); err != nil {
		return Address{}, fmt.Errorf("address %.80q: %w", text, ErrHex)
	}
	if digits != strings.ToLower(digits) && digits != strings.ToUpper(digits) && a.Hex()[2:] != digits {
		return Address{}, fmt.Errorf("%w: %s, want %s", ErrAddressChecksum, text, a.Hex())
	}
	return a, nil
}

// ParseHash reads 0x and 64 hex digits of any case. Errors: ErrHex,
// ErrHashLength.
func ParseHash(text string) (Hash, error) {
	digits, err := hexDigits(text)
	if err != nil {
		return Hash{}, fmt.Errorf("hash %w", err)
	}
	if len(digits) != 2*HashLength {
		return Hash{}, fmt.Errorf("%w: %d hex digits, want %d", ErrHashLength, len(digits), 2*HashLength)
	}
	var h Hash
	if _, err := hex.Decode(h[:], []byte(digits)); err != nil {
		return Hash{}, fmt.Errorf("hash %q: %w", text, ErrHex)
	}
	return h, nil
}

// hexDigits cuts the 0x and bounds how much of a wrong text an error repeats.
func hexDigits(text string) (string, error) {
	digits, ok := strings.CutPrefix(text, "0x")
	if !ok {
		return "", fmt.Errorf("%.80q: %w: it must begin with 0x", text, ErrHex)
	}
	return digits, nil
}
