// What C++ has beyond C: namespaces, classes, base classes, references, scoped enumerations, templates.

namespace ring {

enum class State : unsigned char { Empty, Full = 3 };

struct Header {
    int magic;
    State state;
};

template <typename T, int N> struct Slots {
    T entries[N];
    int used;
};

class Queue : public Header {
public:
    Queue(int n) : Header{n, State::Full}, slots{{1, 2, 3}, 3}, reference(slots.used) {}
    static int instances;
    int size() const { return slots.used; }

private:
    Slots<short, 3> slots;
    int &reference;
    char16_t wide = u'x';
    bool open = true;
};

int Queue::instances = 1;

struct Virtual {
    virtual ~Virtual() {}
    int number = 9;
};

namespace {
struct Hidden {
    long value;
};
} // namespace

struct Derived : public Header {
    bool open;
    char16_t wide;
    short numbers[3];
};

} // namespace ring

ring::Header header = {7, ring::State::Empty};
ring::Derived aligned = {{1, ring::State::Full}, true, u'x', {1, 2, 3}};

ring::Queue queue(77);
ring::Slots<double, 2> slots = {{0.5, 2}, 2};
ring::Virtual with_table;
ring::Hidden hidden = {5};
ring::State state = ring::State::Full;

int main() { return queue.size() + int(hidden.value) + with_table.number; }
