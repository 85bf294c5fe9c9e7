//! The one function that a PKCS#11 module has to have by name.

use kryoptic_lib::{
    fns::general::fn_get_function_list,
    pkcs11::{CK_FUNCTION_LIST_PTR_PTR, CK_RV},
};

/// The module's list of functions.
#[unsafe(no_mangle)]
pub extern "C" fn C_GetFunctionList(list: CK_FUNCTION_LIST_PTR_PTR) -> CK_RV {
    fn_get_function_list(list)
}
