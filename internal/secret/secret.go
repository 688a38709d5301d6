// Package secret seals what must be stored and read back, such as the secrets that callbacks are signed with.
//
// A sealed value is: version byte, four bytes of key id (the start of the key's SHA-256), nonce, AES-256-GCM ciphertext. The
// key id says which of several keys opens a value, so that a key can be rotated: the first key seals, all of them open.
// Version and key id are authenticated. Random nonces of 96 bits are safe for far more values than a deployment has apps.
package secret

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
)

const (
	version  = 1
	keyIDLen = 4
	headLen  = 1 + keyIDLen
)

// The reasons for which Open refuses. Neither holds anything of the value.
var (
	// ErrSealed: damaged, cut, or not a sealed value.
	ErrSealed = errors.New("sealed value cannot be opened")
	// ErrKey: sealed with a key that this process does not have.
	ErrKey = errors.New("sealed with an unknown encryption key")
)

// Box seals and opens. It is safe for concurrent use.
type Box struct {
	seal *sealer
	open map[[keyIDLen]byte]*sealer
}

type sealer struct {
	id   [keyIDLen]byte
	aead cipher.AEAD
}

// New makes a box. The first key seals, older ones only open.
func New(key [32]byte, older ...[32]byte) (*Box, error) {
	b := &Box{open: make(map[[keyIDLen]byte]*sealer, 1+len(older))}
	for i, k := range append([][32]byte{key}, older...) {
		s, err := newSealer(k)
		if err != nil {
			return nil, err
		}
		if b.open[s.id] == nil {
			b.open[s.id] = s
		}
		if i == 0 {
			b.seal = s
		}
	}
	return b, nil
}

func newSealer(key [32]byte) (*sealer, error) {
	if key == ([32]byte{}) {
		return nil, errors.New("encryption key is not set")
	}
	block, err := aes.NewCipher(key[:])
	if err != nil {
		return nil, fmt.Errorf("encryption key: %w", err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, fmt.Errorf("encryption key: %w", err)
	}
	s := &sealer{aead: aead}
	sum := sha256.Sum256(key[:])
	copy(s.id[:], sum[:])
	return s, nil
}

// Seal encrypts plain. Two seals of one value differ.
func (b *Box) Seal(plain []byte) ([]byte, error) {
	s := b.seal
	out := make([]byte, headLen+s.aead.NonceSize(), headLen+s.aead.NonceSize()+len(plain)+s.aead.Overhead())
	out[0] = version
	copy(out[1:], s.id[:])
	if _, err := rand.Read(out[headLen:]); err != nil {
		return nil, fmt.Errorf("nonce: %w", err)
	}
	return s.aead.Seal(out, out[headLen:], plain, out[:headLen]), nil
}

// Open decrypts what Seal gave.
func (b *Box) Open(sealed []byte) ([]byte, error) {
	if len(sealed) < headLen || sealed[0] != version {
		return nil, ErrSealed
	}
	s := b.open[[keyIDLen]byte(sealed[1:headLen])]
	if s == nil {
		return nil, ErrKey
	}
	rest := sealed[headLen:]
	if len(rest) < s.aead.NonceSize() {
		return nil, ErrSealed
	}
	plain, err := s.aead.Open(nil, rest[:s.aead.NonceSize()], rest[s.aead.NonceSize():], sealed[:headLen])
	if err != nil {
		return nil, ErrSealed
	}
	return plain, nil
}
