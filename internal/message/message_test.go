package message

import (
	"bytes"
	"encoding/hex"
	"errors"
	"math"
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/taskweir/taskweir/internal/task"
)

func codec(t testing.TB, key string) *Codec {
	t.Helper()
	c, err := New([]byte(key))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

var lane7 = task.Lane{ID: 7, Queue: "default", Priority: task.Normal}

func sample() task.Rung {
	return task.Rung{
		Bell: task.Bell{ID: 4711, LaneID: 7, AppID: 3, Epoch: 2, DueAt: 1_780_000_000_123, TaskIDs: []int64{1001, 1002, 1010}},
		Items: []task.Item{
			{ID: 1001, KindID: 1, TimeoutMs: 60_000, CreatedAt: 1_780_000_000_000, Body: []byte("\x01\x00{}")},
			{ID: 1002, KindID: 2, TimeoutMs: task.NoTimeout, Flags: task.HasUnique | task.HasRetryPolicy, Failures: 2, Losses: 1,
				CreatedAt: 1_779_999_999_000, ExpiresAt: 1_780_000_100_000},
			{ID: 1010, KindID: 1, TimeoutMs: 1, CreatedAt: 1_780_000_000_123, Body: []byte{}},
		},
	}
}

// The bytes of version 1 are fixed for ever: processes of two builds share a broker during an upgrade.
func TestGoldenBytes(t *testing.T) {
	got, err := codec(t, "golden cluster key").Encode(lane7, sample())
	if err != nil {
		t.Fatal(err)
	}
	const want = "01" + "e724" + "02" + "07" + "03" + "f6a1a484ce67" + // version, bell, epoch, lane, app, due
		"03" + "d20f" + "02" + "10" + // task ids
		"03" + // items
		"00" + "01" + "c0a907" + "00" + "00" + "00" + "f501" + "00" + "05" + "01007b7d" +
		"00" + "02" + "01" + "8108" + "04" + "02" + "c511" + "a09d9882e733" + "00" +
		"00" + "01" + "02" + "00" + "00" + "00" + "00" + "00" + "01" +
		"c9af8f8feb3e37eb766003ca97f8fe2c5793449e0b43c68d5bc6a85233d80834"
	if hex.EncodeToString(got) != want {
		t.Errorf("layout drifted\n got %x\nwant %s", got, want)
	}
}

func TestDecodeGivesWhatWasEncoded(t *testing.T) {
	c := codec(t, "k1")
	raw, err := c.Encode(lane7, sample())
	if err != nil {
		t.Fatal(err)
	}
	got, verified, err := c.Decode(raw)
	if err != nil || !verified || !reflect.DeepEqual(got, sample()) {
		t.Fatalf("got %+v, verified %v, err %v", got, verified, err)
	}
}

func TestRoundTripOfRandomBells(t *testing.T) {
	c := codec(t, "k1")
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 2_000 {
		want := randomRung(rnd)
		raw, err := c.Encode(task.Lane{ID: want.LaneID}, want)
		if err != nil {
			t.Fatal(err)
		}
		if len(raw) > MaxSize {
			t.Fatalf("%d bytes", len(raw))
		}
		got, verified, err := c.Decode(raw)
		if err != nil || !verified {
			t.Fatalf("verified %v, err %v", verified, err)
		}
		// What does not travel by rule is taken out of the expectation: large bodies, and after the first that does not
		// fit all others.
		left := false
		for i := range want.Items {
			it := &want.Items[i]
			if len(it.Body) > task.MaxInlineBody {
				it.Body = nil
			}
			if it.Body != nil && got.Items[i].Body == nil {
				left = true
			}
			if left {
				it.Body = nil
			}
		}
		if left && len(raw) < MaxSize-task.MaxInlineBody-len(want.Items)*maxItem-len(want.TaskIDs)*10 {
			t.Fatalf("bodies were left out of a message of only %d bytes", len(raw))
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("\n got %+v\nwant %+v", got, want)
		}
	}
}

func randomRung(rnd *rand.Rand) task.Rung {
	wild := func() int64 {
		switch rnd.IntN(6) {
		case 0:
			return 0
		case 1:
			return math.MaxInt64
		case 2:
			return rnd.Int64()
		}
		return rnd.Int64N(1 << 41)
	}
	r := task.Rung{Bell: task.Bell{ID: wild(), LaneID: rnd.Int32(), AppID: rnd.Int32(), Epoch: rnd.Int32(), DueAt: wild()}}
	if n := rnd.IntN(120); n > 0 {
		r.TaskIDs = make([]int64, n)
		for i := range r.TaskIDs {
			r.TaskIDs[i] = wild()
		}
	}
	if m := rnd.IntN(120); m > 0 {
		r.Items = make([]task.Item, m)
		size := []int{10, 300, task.MaxInlineBody, task.MaxInlineBody + 5}[rnd.IntN(4)]
		for i := range r.Items {
			r.Items[i] = task.Item{ID: wild(), KindID: rnd.Int32(), TimeoutMs: int32(rnd.Uint32()), Flags: task.Flags(rnd.Uint32()),
				Failures: int16(rnd.Uint32()), Losses: int16(rnd.Uint32()), CreatedAt: wild(), ExpiresAt: wild()}
			if rnd.IntN(5) > 0 {
				r.Items[i].Body = bytes.Repeat([]byte{byte(i)}, rnd.IntN(size+1))
			}
		}
	}
	return r
}

func TestLargeBellKeepsEveryIDAndStaysWithinTheLimit(t *testing.T) {
	c := codec(t, "k1")
	r := task.Rung{Bell: task.Bell{ID: 1, LaneID: 7}}
	for i := range int64(100) {
		r.TaskIDs = append(r.TaskIDs, 5_000+i)
		r.Items = append(r.Items, task.Item{ID: 5_000 + i, KindID: 1, Body: bytes.Repeat([]byte("x"), task.MaxInlineBody)})
	}
	raw, err := c.Encode(lane7, r)
	if err != nil || len(raw) > MaxSize {
		t.Fatalf("%d bytes, %v", len(raw), err)
	}
	got, _, err := c.Decode(raw)
	if err != nil || len(got.TaskIDs) != 100 || len(got.Items) != 100 {
		t.Fatalf("%d ids, %d items, %v", len(got.TaskIDs), len(got.Items), err)
	}
	with := 0
	for with < 100 && got.Items[with].Body != nil {
		with++
	}
	for i := with; i < 100; i++ {
		if got.Items[i].Body != nil {
			t.Fatalf("item %d has a body after item %d has none", i, with)
		}
	}
	if with < 50 {
		t.Fatalf("only %d bodies travelled", with)
	}
}

func TestWrongSignatureGivesIDsButNoItems(t *testing.T) {
	raw, err := codec(t, "one key").Encode(lane7, sample())
	if err != nil {
		t.Fatal(err)
	}
	got, verified, err := codec(t, "another key").Decode(raw)
	want := task.Rung{Bell: sample().Bell}
	if err != nil || verified || !reflect.DeepEqual(got, want) {
		t.Fatalf("got %+v, verified %v, err %v", got, verified, err)
	}
}

func TestEveryFlippedBitIsNoticed(t *testing.T) {
	c := codec(t, "k1")
	raw, err := c.Encode(lane7, sample())
	if err != nil {
		t.Fatal(err)
	}
	for i := range raw {
		for bit := range 8 {
			bent := bytes.Clone(raw)
			bent[i] ^= 1 << bit
			got, verified, err := c.Decode(bent)
			if verified || len(got.Items) > 0 {
				t.Fatalf("byte %d bit %d: verified", i, bit)
			}
			if i == 0 && !errors.Is(err, ErrVersion) {
				t.Fatalf("version bit %d: %v", bit, err)
			}
		}
	}
}

func TestRefusals(t *testing.T) {
	c := codec(t, "k1")
	good, err := c.Encode(lane7, sample())
	if err != nil {
		t.Fatal(err)
	}
	signed := func(b ...byte) []byte { return c.sign(b) }
	for name, tt := range map[string]struct {
		raw  []byte
		want error
	}{
		"empty":               {nil, ErrMalformed},
		"version only":        {[]byte{1}, ErrMalformed},
		"cut":                 {good[:20], ErrMalformed},
		"newer version":       {append([]byte{2}, good[1:]...), ErrVersion},
		"newer, unlike ours":  {[]byte{9}, ErrVersion},
		"too large":           {make([]byte, MaxSize+1), ErrMalformed},
		"signed head cut":     {signed(1, 5, 0), ErrMalformed},
		"signed lying count":  {signed(1, 5, 0, 0, 0, 0, 0xE7, 0x07), ErrMalformed},
		"signed huge count":   {signed(1, 5, 0, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0x0F), ErrMalformed},
		"signed trailing":     {signed(1, 5, 0, 0, 0, 0, 0, 0, 99), ErrMalformed},
		"signed negative id":  {signed(1, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x01, 0, 0, 0, 0, 0, 0), ErrMalformed},
		"signed wide epoch":   {signed(1, 5, 0xFF, 0xFF, 0xFF, 0xFF, 0x0F, 0, 0, 0, 0, 0), ErrMalformed},
		"signed body too far": {signed(1, 5, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 9), ErrMalformed},
	} {
		if r, verified, err := c.Decode(tt.raw); !errors.Is(err, tt.want) || verified || r.ID != 0 {
			t.Errorf("%s: got %+v, %v, %v; want %v", name, r, verified, err, tt.want)
		}
	}
	if _, err := c.Encode(lane7, task.Rung{Bell: task.Bell{TaskIDs: make([]int64, maxTasks+1)}}); !errors.Is(err, ErrTooMany) {
		t.Errorf("too many ids: %v", err)
	}
	if _, err := New(nil); err == nil {
		t.Error("an empty key was taken")
	}
}

func TestDecodeAllocatesPerBellNotPerItem(t *testing.T) {
	c := codec(t, "k1")
	r := task.Rung{Bell: task.Bell{ID: 1, LaneID: 7}}
	for i := range int64(100) {
		r.TaskIDs = append(r.TaskIDs, i)
		r.Items = append(r.Items, task.Item{ID: i, Body: []byte("body")})
	}
	raw, err := c.Encode(lane7, r)
	if err != nil {
		t.Fatal(err)
	}
	// A few more than without the race detector, under which pools lose things on purpose; far from one per item.
	if n := testing.AllocsPerRun(100, func() { _, _, _ = c.Decode(raw) }); n > 10 {
		t.Errorf("decode: %v allocations", n)
	}
	if n := testing.AllocsPerRun(100, func() { _, _ = c.Encode(lane7, r) }); n > 10 {
		t.Errorf("encode: %v allocations", n)
	}
}

// FuzzDecode: no input may crash it or make it believe what it did not sign.
func FuzzDecode(f *testing.F) {
	c := codec(f, "fuzz")
	raw, err := c.Encode(lane7, sample())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw[:len(raw)-macSize], true)
	f.Add(raw, false)
	f.Add([]byte{1, 5, 0, 0, 0, 0, 0, 0}, true)
	f.Add([]byte{2}, false)
	f.Fuzz(func(t *testing.T, in []byte, sign bool) {
		if sign && len(in) > 0 {
			in = c.sign(bytes.Clone(in))
		}
		r, verified, err := c.Decode(in)
		if err != nil {
			if !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrVersion) {
				t.Fatalf("unnamed error %v", err)
			}
			return
		}
		if !verified {
			if r.Items != nil {
				t.Fatal("items without signature")
			}
			return
		}
		// What was decoded can be encoded and means the same.
		again, err := c.Encode(task.Lane{ID: r.LaneID}, r)
		if err != nil {
			t.Fatal(err)
		}
		back, ok, err := c.Decode(again)
		if err != nil || !ok || !reflect.DeepEqual(back, r) {
			t.Fatalf("\n got %+v (%v, %v)\nwant %+v", back, ok, err, r)
		}
	})
}

func BenchmarkEncode100(b *testing.B) { benchmark(b, 100, false) }
func BenchmarkDecode100(b *testing.B) { benchmark(b, 100, true) }
func BenchmarkEncode1(b *testing.B)   { benchmark(b, 1, false) }
func BenchmarkDecode1(b *testing.B)   { benchmark(b, 1, true) }

func benchmark(b *testing.B, n int64, decode bool) {
	c := codec(b, "bench")
	r := task.Rung{Bell: task.Bell{ID: 1, LaneID: 7, DueAt: 1_780_000_000_123}}
	for i := range n {
		r.TaskIDs = append(r.TaskIDs, 1_000_000+i)
		r.Items = append(r.Items, task.Item{ID: 1_000_000 + i, KindID: 3, TimeoutMs: 60_000, CreatedAt: 1_780_000_000_100, Body: make([]byte, 200)})
	}
	raw, err := c.Encode(lane7, r)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.SetBytes(int64(len(raw)))
	for b.Loop() {
		if decode {
			_, _, err = c.Decode(raw)
		} else {
			_, err = c.Encode(lane7, r)
		}
		if err != nil {
			b.Fatal(err)
		}
	}
}
