// What Python calls beside the functions of each type: those named after a structure say its size in bytes, has_threads whether more than one thread
// can be used.
#include "backward.hpp"
#include "exported.hpp"
#include "layer.hpp"
#include "planes.hpp"
#include "saved.hpp"

// Structures of pointers are of one size for all types.
EXPORTED int64_t size_of_layer() { return sizeof(Layer); }
EXPORTED int64_t size_of_results() { return sizeof(Results<float>); }
EXPORTED int64_t size_of_backward_data() { return sizeof(BackwardData<float>); }
EXPORTED int64_t size_of_gradients() { return sizeof(Gradients<float>); }
EXPORTED int64_t size_of_planes() { return sizeof(Planes); }

EXPORTED int has_threads() {
#ifdef _OPENMP
    return 1;
#else
    return 0;
#endif
}
