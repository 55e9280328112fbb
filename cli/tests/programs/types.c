/* Structures of all kinds, each with a value that gdb and the typed view must read alike. No header is needed, and no
 * libc: so it can be built for 32 bits where only the compiler is there. */

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef int (*handler_t)(int);

int handle(int signal) { return signal; }
int counter = 7;

struct numbers {
    char small;
    signed char tiny;
    u8 byte;
    short int16;
    u16 word;
    int number;
    u32 count;
    long wide;
    unsigned long uwide;
    long long longest;
    u64 ulongest;
    _Bool yes, no;
} numbers = { 'a', -3, 200, -30000, 60000, -2000000000, 4000000000u, -5, 5, -9000000000000000000ll,
              18000000000000000000ull, 1, 0 };

struct floats {
    float single;
    double real;
    long double extended;
    double none, infinite, negative;
    float tenth;
    _Complex double complex_number;
} floats = { 1.5f, 0.1, 2.75L, 0.0, __builtin_inf(), -1e300, 0.1f, 1.0 + 2.5i };

struct texts {
    char name[16];
    char full[4];
    char escaped[12];
    char broken[8];
    char lines[3][6];
    u8 bytes[4];
} texts = { "shared", { 'a', 'b', 'c', 'd' }, "a\"b\\\n\001", "\377\376x", { "one", "two", "three" }, { 1, 2, 3, 4 } };

enum state { IDLE, RUNNING = 5, DONE = -1 };
enum flags { READ = 1, WRITE = 2, EXEC = 4, SYNC = 0x40 };
enum small_state { SMALL_A = 1, SMALL_B = 200 } __attribute__((packed));

struct enums {
    enum state idle, running, done, unknown;
    enum flags none, one, several, more;
    enum small_state packed;
    enum state history[4];
} enums = { IDLE, RUNNING, DONE, (enum state)77, 0, WRITE, READ | EXEC, WRITE | SYNC | (enum flags)0x100, SMALL_B,
            { IDLE, RUNNING, DONE, IDLE } };

struct bits {
    unsigned first : 1;
    unsigned second : 5;
    int negative : 4;
    unsigned : 3;
    unsigned crossing : 17;
    unsigned long long wide : 40;
    enum state running : 4;
    _Bool on : 1;
    u8 in_byte : 3;
    signed char signed_byte : 3;
} bits = { 1, 19, -5, 99999, 0xabcdef0123ull, RUNNING, 1, 5, -2 };

struct packed_bits {
    u8 lead;
    unsigned value : 23;
    unsigned rest : 9;
    u16 end;
} __attribute__((packed)) packed_bits = { 9, 0x7a5a5a, 0x155, 0xbeef };

struct node {
    struct node *next;
    const char *label;
    handler_t handler;
    int *target;
    int (*table)[4];
    void *nothing;
    void *somewhere;
} node = { &node, 0, handle, &counter, 0, 0, (void *)0x12345 };

struct matrix {
    int cells[2][3];
    short cube[2][2][2];
    u8 zeros[40];
    int many[30];
    double rows[2][2];
} matrix = { { { 1, 2, 3 }, { 4, 5, 6 } }, { { { 1, 2 }, { 3, 4 } }, { { 5, 6 }, { 7, 8 } } }, { 0 }, { 1, 2, 3, [20] = 9 },
             { { 0.5, 1 }, { 2, 4 } } };

union value {
    int number;
    float real;
    u8 bytes[8];
    struct {
        u16 low, high;
    } halves;
} value = { .bytes = { 0, 0, 0x80, 0x3f, 1 } };

struct nested {
    int kind;
    struct {
        int x, y;
    } point;
    struct numbers inner;
    union {
        int as_int;
        char as_text[4];
    };
    struct {
        short left, right;
    };
    const volatile int constant;
    struct point3 {
        float x, y, z;
    } corners[2];
} nested = { 3, { 10, -20 }, { 'z', 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 0, 1 }, { 0x41424344 }, { -1, 1 }, 42,
             { { 1, 2, 3 }, { 4, 5, 6 } } };

typedef struct {
    u32 magic;
    u16 version;
    struct slot {
        int pid;
        char owner[8];
        enum state state;
    } slots[4];
} shared_state;

shared_state state = { 0x162e, 3, { { 100, "anna", RUNNING }, { 0, "", IDLE }, { 0, "", IDLE }, { 4711, "bert", DONE } } };

struct padded {
    char a;
    long long b;
    char c;
    short d;
    char e;
} __attribute__((aligned(16))) padded = { 'p', 1, 'q', 2, 'r' };

struct flexible {
    u32 used;
    struct slot entries[];
} flexible = { 2, { { 1, "x", IDLE }, { 2, "y", RUNNING } } };

struct old_flexible {
    u32 used;
    int values[0];
} old_flexible = { 3 };

struct empty {
    int before;
    struct {
    } nothing;
    int after;
} empty = { 1, {}, 2 };

#ifdef __SIZEOF_INT128__
struct huge {
    __int128 negative;
    unsigned __int128 positive;
    _Float128 quad;
} huge = { -5, ((unsigned __int128)1 << 100) + 1, 0.375f128 };
#endif

int main(void) { return handle(counter) + (int)sizeof(struct nested); }
